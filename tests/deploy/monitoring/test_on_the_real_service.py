"""The committed rules on a real Prometheus that scrapes the real service."""

import math
import signal
import subprocess
from pathlib import Path

import pytest
import yaml

from vdmini_serve.contract import metrics

ROOT = Path(__file__).resolve().parents[3]
RULES = ROOT / "docker" / "prometheus" / "rules"
AROUND_SECONDS = 0.05
"""What a job's own times hold besides its run, which the metric tells: to claim and to commit it, on two busy cores."""


def rules(file: str) -> list[dict]:
    return [rule for group in yaml.safe_load((RULES / file).read_text())["groups"] for rule in group["rules"]]


def test_every_recording_rule_has_a_number_after_a_few_jobs(watched_service):
    for rule in rules("recording.yml"):
        found = watched_service.query(rule["record"])
        assert found, f"{rule['record']} has no data"
        assert all(math.isfinite(float(row["value"][1])) for row in found), rule["record"]


def seconds_of(watched, task: str, variant: str) -> list[float]:
    """What the succeeded jobs themselves say they took, the queue not counted."""
    jobs = watched.service.get("/v1/jobs", params={"limit": 100}).json()["jobs"]
    mine = [job for job in jobs if (job["task"], job["variant"], job["status"]) == (task, variant, "succeeded")]
    return [job["timings"]["total"] - job["timings"]["queue"] for job in mine]


def test_recorded_quantiles_and_ratios_are_what_the_jobs_say(watched_service):
    for task in ("i2v", "t2v"):
        for variant in ("vdmini", "teacher"):
            labels = f'{{task="{task}",variant="{variant}"}}'
            (p95,) = watched_service.query(f"task_variant_size:vdmini_job_latency_seconds:p95_5m{labels}")
            (mean,) = watched_service.query(f"task_variant_size:vdmini_job_latency_seconds:mean_5m{labels}")
            assert p95["metric"]["size"] == "64x64x8"
            took = seconds_of(watched_service, task, variant)
            least = min(took) - AROUND_SECONDS
            assert least <= float(mean["value"][1]) <= 1.05 * max(took)
            at_least = max(bound for bound in (0, *metrics.LATENCY_BUCKETS) if bound < max(least, 1e-9))
            at_most = min(bound for bound in metrics.LATENCY_BUCKETS if bound >= max(took))
            assert at_least <= float(p95["value"][1]) <= at_most
    (wrong,) = watched_service.query("service:vdmini_errors:ratio_rate5m")
    assert float(wrong["value"][1]) == 0, "a prompt that is too long is no error of the service"
    failed = watched_service.query('vdmini_job_failures_total{reason="prompt-too-long"}')
    assert [float(row["value"][1]) for row in failed] == [2]


def test_every_alert_can_be_evaluated_and_none_fires_while_all_is_well(watched_service):
    for rule in rules("alerts.yml"):
        watched_service.query(rule["expr"])
    answer = watched_service.prometheus.get("/api/v1/rules").json()
    told = [rule for group in answer["data"]["groups"] for rule in group["rules"]]
    assert {rule["health"] for rule in told} == {"ok"}, [rule for rule in told if rule["health"] != "ok"]
    assert len(told) == len(rules("recording.yml")) + len(rules("alerts.yml"))
    assert not watched_service.firing()


def test_no_family_of_the_service_is_without_help_and_promtool_has_no_complaint(watched_service, program):
    text = watched_service.service.get("/metrics").text
    checked = subprocess.run(
        [str(program("promtool")), "check", "metrics"], input=text, capture_output=True, text=True, check=False
    )
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")


@pytest.mark.parametrize("name", ["artifacts", "clips"])
def test_room_is_told_of_both_volumes(watched_service, name):
    (free,) = watched_service.query(f'vdmini_disk_free_bytes{{volume="{name}"}}')
    (size,) = watched_service.query(f'vdmini_disk_size_bytes{{volume="{name}"}}')
    assert 0 < float(free["value"][1]) <= float(size["value"][1])


def test_a_receipt_and_the_age_of_a_baseline_are_told(watched_service):
    for task in ("i2v", "t2v"):
        (promise,) = watched_service.query(f'vdmini_receipt_speedup_ratio{{task="{task}"}}')
        assert promise["metric"]["size"] == "64x64x8"
        (age,) = watched_service.query(f'time() - vdmini_baseline_timestamp_seconds{{task="{task}"}}')
        assert 0 <= float(age["value"][1]) < 1200


def test_a_worker_whose_parent_hangs_fires_and_ends_the_alert_when_it_goes_on(watched_service):
    eventually = watched_service.eventually
    watched_service.worker.send_signal(signal.SIGSTOP)
    try:
        job = watched_service.post("t2v", prompt="a red circle moves to the right")
        eventually(lambda: "WorkerNotConsuming" in watched_service.firing(), seconds=60)
        assert float(watched_service.query('vdmini_queue_oldest_seconds{queue="vdmini.t2v.normal"}')[0]["value"][1]) > 3
    finally:
        watched_service.worker.send_signal(signal.SIGCONT)
    assert watched_service.finished(job) == "succeeded"
    eventually(lambda: not watched_service.firing(), seconds=60)
