"""A worker's child that cannot start must not take jobs."""

import subprocess
import sys

START_A_CHILD = """
from celery.signals import worker_process_init
from vdmini_serve.contract.settings import Settings
from vdmini_serve.worker.app import create_worker

nowhere = "redis://127.0.0.1:1/0"
app = create_worker(Settings(broker_url=nowhere, jobs_url=nowhere, heartbeat_seconds=0.1), "owner")
worker_process_init.send(sender="test")  # as Celery does in the child, before it sends jobs
print("goes on")
"""


def test_a_child_ends_when_redis_is_away_while_it_starts():
    ended = subprocess.run(
        [sys.executable, "-c", START_A_CHILD], capture_output=True, text=True, timeout=120, check=False
    )
    assert ended.returncode == 1, ended.stderr
    assert "goes on" not in ended.stdout
