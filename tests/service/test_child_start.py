"""A worker's child that cannot start must not take jobs."""

import os
import subprocess
import sys
from pathlib import Path

START_A_CHILD = """
import sys
from pathlib import Path
from celery.signals import worker_process_init
from vdmini_serve.contract.settings import Settings
from vdmini_serve.worker.app import create_worker

nowhere, artifacts = "redis://127.0.0.1:1/0", (Path(sys.argv[1]),)
settings = Settings(broker_url=nowhere, jobs_url=nowhere, heartbeat_seconds=0.1, artifacts=artifacts)
app = create_worker(settings, "owner")
worker_process_init.send(sender="test")  # as Celery does in the child, before it sends jobs
print("goes on")
"""


def test_a_child_ends_when_redis_is_away_while_it_starts(artifact_folders: tuple[Path, ...]) -> None:
    """A shell is its parent: what a child does to its parent when it cannot start shall not happen to these tests."""
    given = {**os.environ, "PYTHON": sys.executable, "CODE": START_A_CHILD, "ARTIFACT": str(artifact_folders[0])}
    line = '"$PYTHON" -c "$CODE" "$ARTIFACT"; exit $?'
    ended = subprocess.run(["bash", "-c", line], env=given, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 1, ended.stderr
    assert "Redis was away" in ended.stderr
    assert "goes on" not in ended.stdout
