"""Kills, Ctrl-C and damaged files. Runs last, because it hurts the service that the other files share."""

import os
import shutil
import signal
import socket
import subprocess
from pathlib import Path

import httpx

PROMPT = "a blue square moves up"


def processes_with(folder: Path) -> dict[int, str]:
    """Command lines of all processes that were started for this folder."""
    found = {}
    for path in Path("/proc").iterdir():
        if not path.name.isdigit():
            continue
        try:
            state = (path / "stat").read_text().rpartition(")")[2].split()[0]
            if f"TMPDIR={folder}".encode() in (path / "environ").read_bytes() and state != "Z":
                found[int(path.name)] = (path / "cmdline").read_text().replace("\0", " ")
        except OSError:
            continue
    return found


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def worker_child(folder: Path) -> int:
    workers = [pid for pid, line in processes_with(folder).items() if "vdmini_serve.cli worker" in line]
    (child,) = [pid for pid in workers if parent_of(pid) in workers]
    return child


def test_a_job_whose_worker_is_killed_in_the_middle_is_finished_exactly_once(service, eventually):
    before = service.metric("vdmini_jobs_total", outcome="succeeded")
    job_id = service.post("t2v", prompt=PROMPT, num_inference_steps=16, seed=1).json()["id"]
    eventually(lambda: service.job(job_id)["progress"] > 0, seconds=60, every=0.005)
    os.kill(worker_child(service.folder), signal.SIGKILL)
    job = service.finished(job_id, seconds=200)
    assert (job["status"], job["attempts"]) == ("succeeded", 2)
    again = service.client.post("/v1/t2v", json={"prompt": PROMPT, "num_inference_steps": 16, "seed": 1})
    assert again.content == service.client.get(f"/v1/jobs/{job_id}/content").content
    assert service.metric("vdmini_jobs_total", outcome="succeeded") == before + 2
    (data,) = service.folder.glob("vdmini-serve-*/data/results")
    assert sorted(path.name for path in data.glob(f"*{job_id}*")) == [f"{job_id}.2.mp4", f"{job_id}.2.webp"]


def test_ctrl_c_in_the_middle_of_a_job_leaves_no_process_and_no_file(
    artifact_folders, start_service, read_log, eventually, a_free_port, tmp_path
):
    folder = tmp_path / "up"
    folder.mkdir()
    (student,) = [path for path in artifact_folders if is_student(path, "t2v")]
    process = start_service(
        folder, "--artifact", str(student), port=a_free_port, traced=False, VDMINI_BASELINE_RUNS="0"
    )
    with httpx.Client(base_url=f"http://127.0.0.1:{a_free_port}", trust_env=False) as client:
        eventually(lambda: process.poll() is not None or "Ready:" in read_log(folder), seconds=120, every=0.2)
        response = client.post(
            "/v1/t2v", json={"prompt": PROMPT, "num_inference_steps": 16}, headers={"Prefer": "respond-async"}
        )
        assert response.status_code == 202
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=20) == 0, read_log(folder)
    eventually(lambda: not processes_with(folder), seconds=5)
    assert not list(folder.iterdir())
    assert "Traceback" not in read_log(folder)


def is_student(folder: Path, task: str) -> bool:
    text = (folder / "vdmini.json").read_text().replace(" ", "")
    return '"variant":"vdmini"' in text and f'"task":"{task}"' in text


def test_a_damaged_artifact_is_named_and_nothing_is_served(
    artifact_folders, start_service, read_log, a_free_port, tmp_path
):
    damaged, folder = tmp_path / "damaged", tmp_path / "up"
    shutil.copytree(artifact_folders[0], damaged)
    folder.mkdir()
    weights = sorted(damaged.rglob("*.safetensors"))[0]
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    process = start_service(folder, "--artifact", str(damaged), port=a_free_port)
    assert process.wait(timeout=60) == 1
    assert str(weights.relative_to(damaged)) in read_log(folder)
    assert "Traceback" not in read_log(folder)
    weights.unlink()
    assert start_service(folder, "--artifact", str(damaged), port=a_free_port).wait(timeout=60) == 1
    assert "is missing" in read_log(folder)
    assert not list(folder.iterdir())


def test_a_port_that_is_taken_and_a_folder_that_is_none_are_told(artifact_folders, start_service, read_log, tmp_path):
    folder = tmp_path / "up"
    folder.mkdir()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert start_service(folder, "--artifact", str(artifact_folders[0]), port=port).wait(timeout=60) == 1
    assert f"{port}" in read_log(folder)
    assert "--port" in read_log(folder)
    missing: subprocess.Popen[str] = start_service(folder, "--artifact", str(tmp_path / "none"), port=port)
    assert missing.wait(timeout=60) == 1
    assert "is not a folder" in read_log(folder)
