"""How many workers a load needs, held against textbook values and against a simulated line."""

import heapq
import json
import random
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vdmini_serve.capacity import CapacityError, Line, Load, workers_for


def simulated_waits(load: Load, workers: int, *, jobs: int = 200_000) -> list[float]:
    """First come, first served, on so many workers, with exponential (variation 1) or equal (0) times."""
    dice = random.Random(7)
    free = [0.0] * workers
    now, waits = 0.0, []
    for _ in range(jobs):
        now += dice.expovariate(load.jobs_per_hour / 3600)
        start = max(now, heapq.heappop(free))
        mean = load.seconds_per_job
        heapq.heappush(free, start + (dice.expovariate(1 / mean) if load.variation else mean))
        waits.append(start - now)
    return waits[jobs // 10 :]


def test_the_share_that_waits_is_erlangs() -> None:
    line = Line(Load(jobs_per_hour=2 * 3600, seconds_per_job=1), workers=3)  # two erlangs on three workers
    assert line.waiting_share == pytest.approx(4 / 9)
    assert line.mean_wait_seconds == pytest.approx(4 / 9)


def test_one_worker_with_equal_jobs_waits_as_pollaczek_and_khinchine_say() -> None:
    load = Load(jobs_per_hour=0.8 * 3600, seconds_per_job=1, variation=0)
    assert Line(load, 1).mean_wait_seconds == pytest.approx(0.8 / (2 * 0.2))


@pytest.mark.parametrize(("workers", "utilisation"), [(1, 0.7), (4, 0.8), (12, 0.9)])
@pytest.mark.parametrize("variation", [0.0, 1.0])
def test_waits_are_those_of_a_simulated_line(workers: int, utilisation: float, variation: float) -> None:
    load = Load(jobs_per_hour=3600 * workers * utilisation / 2, seconds_per_job=2, variation=variation)
    line, waits = Line(load, workers), simulated_waits(load, workers)
    assert line.mean_wait_seconds == pytest.approx(sum(waits) / len(waits), rel=0.2)
    for seconds in (1.0, 3.0):
        late = sum(wait > seconds for wait in waits) / len(waits)
        assert line.late_share(seconds) == pytest.approx(late, abs=0.04 if variation else 0.08)  # 0: approximate


@given(
    jobs_per_hour=st.floats(1, 50_000),
    seconds=st.floats(0.05, 300),
    wait=st.floats(0, 600),
    share=st.floats(0.5, 0.999),
    variation=st.floats(0, 3),
)
def test_the_fewest_workers_keep_the_wait_and_one_fewer_would_not(
    jobs_per_hour: float, seconds: float, wait: float, share: float, variation: float
) -> None:
    load = Load(jobs_per_hour, seconds, variation)
    enough = workers_for(load, wait_seconds=wait, share=share)
    assert Line(load, enough).late_share(wait) <= 1 - share
    assert Line(load, enough).wait_seconds(share) <= wait + 1e-9
    if enough - 1 > load.offered:
        assert Line(load, enough - 1).late_share(wait) > 1 - share


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"jobs_per_hour": 0, "seconds_per_job": 1}, "above 0"),
        ({"jobs_per_hour": 1, "seconds_per_job": float("nan")}, "above 0"),
        ({"jobs_per_hour": 1, "seconds_per_job": 1, "variation": -1}, "all jobs alike"),
    ],
)
def test_a_load_that_means_nothing_is_refused(arguments: dict[str, float], words: str) -> None:
    with pytest.raises(CapacityError, match=words):
        Load(**arguments)


def test_a_load_for_more_than_one_queue_is_refused() -> None:
    with pytest.raises(CapacityError, match="several deployments"):
        workers_for(Load(jobs_per_hour=3.6e8, seconds_per_job=2), wait_seconds=1)


def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "vdmini_serve.cli", "capacity", *arguments]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)


def test_the_command_says_how_many_workers() -> None:
    asked = ("--jobs-per-hour", "7200", "--seconds-per-job", "1", "--wait", "1")
    answer = json.loads(run(*asked, "--json").stdout)
    load = Load(jobs_per_hour=7200, seconds_per_job=1)
    assert answer["workers"] == workers_for(load, wait_seconds=1)
    assert f"{answer['workers']} workers" in run(*asked).stdout


def test_the_command_names_a_wrong_number() -> None:
    wrong = run("--jobs-per-hour", "-3", "--seconds-per-job", "1")
    assert wrong.returncode == 1
    assert "jobs_per_hour is -3.0; give a number above 0" in wrong.stderr


def test_the_tables_of_the_page_are_those_of_the_recorded_runs(root: Path) -> None:
    checked = subprocess.run(
        [sys.executable, "scripts/capacity_tables.py", "--check"], cwd=root, check=False, capture_output=True, text=True
    )
    assert checked.returncode == 0, checked.stderr
