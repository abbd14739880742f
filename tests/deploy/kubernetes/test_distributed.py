"""The Indexed Job: its pods find each other, and its script has torchrun bring them together."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from tests.deploy.kubernetes.conftest import MANIFESTS, Manifest

TRAINING = """
import sys
from pathlib import Path
from torch import distributed, tensor

folder = Path(sys.argv[1])
distributed.init_process_group("gloo")
rank, world = distributed.get_rank(), distributed.get_world_size()
total = tensor([rank + 1.0])
distributed.all_reduce(total)
(folder / f"met-{rank}").write_text(f"{world} {total.item():g}")
distributed.destroy_process_group()  # or gloo's threads may abort a process that ends, and torchrun starts it again
"""


@pytest.fixture(scope="module")
def job() -> Manifest:
    manifest: Manifest = yaml.safe_load((MANIFESTS / "overlays/distributed/job.yaml").read_text())
    return manifest


def test_every_node_has_an_index_a_name_and_a_place_to_meet(job: Manifest) -> None:
    spec, pod = job["spec"], job["spec"]["template"]["spec"]
    service = yaml.safe_load((MANIFESTS / "overlays/distributed/service.yaml").read_text())
    (container,) = pod["containers"]
    told = {each["name"]: each.get("value") for each in container["env"]}
    assert spec["completionMode"] == "Indexed"
    assert spec["completions"] == spec["parallelism"] == int(told["NODES"])
    assert pod["subdomain"] == service["metadata"]["name"]
    assert service["spec"]["clusterIP"] == "None"
    assert service["spec"]["publishNotReadyAddresses"], "pods meet before they are ready"
    assert told["FIRST_NODE"] == f"{job['metadata']['name']}-0.{pod['subdomain']}"
    assert told["THIS_NODE"] == f"{job['metadata']['name']}-$(INDEX).{pod['subdomain']}"
    assert told["PROCESSES_PER_NODE"] == container["resources"]["limits"]["nvidia.com/gpu"]
    assert f'"$FIRST_NODE:{service["spec"]["ports"][0]["port"]}"' in container["args"][0]


def node(job: Manifest, index: int, port: int, folder: Path, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    """One pod's script with its own options, for a training that only meets."""
    (container,) = job["spec"]["template"]["spec"]["containers"]
    script, replaced = re.subn(
        r"-m vdmini_compress\.cli run .*", f"{folder / 'training.py'} {folder}", container["args"][0]
    )
    assert replaced == 1
    told = {each["name"]: each["value"] for each in container["env"] if "value" in each}
    told |= {"INDEX": str(index), "FIRST_NODE": "localhost", "THIS_NODE": "localhost"}
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    command = [*container["command"], script.replace(":29500", f":{port}")]
    return subprocess.Popen(
        command, env=environment | told | {"PATH": path, "CUDA_VISIBLE_DEVICES": ""}, start_new_session=True
    )


def test_two_nodes_meet(job: Manifest, tmp_path: Path, untraced: dict[str, str]) -> None:
    (tmp_path / "training.py").write_text(TRAINING)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    second = node(job, 1, port, tmp_path, untraced)
    time.sleep(0.5)  # whoever comes first waits
    first = node(job, 0, port, tmp_path, untraced)
    try:
        assert [first.wait(120), second.wait(120)] == [0, 0]
    finally:
        for process in (first, second):
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
    assert [(tmp_path / f"met-{rank}").read_text() for rank in (0, 1)] == ["2 3", "2 3"]
