"""The service in containers starts, serves, survives, stops, is restored; in this order, each leaves it running."""

import io
import re
import signal
import time
from pathlib import Path

import av
import pytest

ROOT = Path(__file__).resolve().parents[3]
README = (ROOT / "docker" / "README.md").read_text()
SECONDS_TO_THE_FIRST_CLIP = 120
"""A minute is what docker/README.md promises on two cores; here other tests share them."""

pytestmark = pytest.mark.timeout(1200)


def commands(heading: str) -> str:
    """The commands of a section that run here: its `bash` blocks; `sh` marks those that need what isn't here."""
    _, mark, rest = README.partition(f"## {heading}\n")
    assert mark, f"docker/README.md has no section {heading}"
    return "".join(re.findall(r"```bash\n(.*?)```", rest.split("\n## ")[0], flags=re.DOTALL))


def run(stack, heading: str, *, only: tuple[str, ...] = ()) -> str:
    """Run a section's commands, at our port; `only` names services where all would take long."""
    script = commands(heading).replace("127.0.0.1:8000", stack.url.removeprefix("http://"))
    script = script.replace("up --wait", " ".join(("up --wait", *only)))
    assert script, heading
    return stack.docker.run("bash", "-euo", "pipefail", "-c", script).stdout


def frames(mp4: bytes) -> int:
    with av.open(io.BytesIO(mp4)) as opened:
        return sum(1 for _ in opened.decode(video=0))


def test_the_first_clip_is_there_within_a_minute_of_up(stack, record_property) -> None:
    began = time.monotonic()
    run(stack, "First run")
    seconds = stack.seconds_until_ready + time.monotonic() - began
    record_property("seconds_to_first_clip", round(seconds, 1))
    assert frames((stack.docker.folder / "clip.mp4").read_bytes()) == 8
    assert seconds <= SECONDS_TO_THE_FIRST_CLIP, (
        f"{stack.seconds_until_ready:.1f} s of {seconds:.1f} until all was ready"
    )


def test_everything_is_healthy_and_prometheus_scrapes_one_api(stack) -> None:
    for service in ("redis", "api", "worker", "prometheus"):
        assert stack.docker.state(service)["Health"]["Status"] == "healthy", service
    url = f"http://127.0.0.1:{stack.docker.environment['PROMETHEUS_PORT']}/api/v1/query"

    def scraped() -> bool:
        told = stack.client.get(url, params={"query": 'sum(vdmini_jobs_total{outcome="succeeded"})'}).json()
        return bool(told["data"]["result"]) and float(told["data"]["result"][0]["value"][1]) >= 1

    stack.eventually(scraped, seconds=60)


def test_redis_wants_its_password_and_is_reached_from_inside_only(stack) -> None:
    ask = ("compose", "exec", "-T", "-e", "REDISCLI_AUTH=", "redis", "redis-cli")
    assert "NOAUTH" in stack.docker(*ask, "get", "x")
    assert "NOAUTH" in stack.docker(*ask, "-a", "guess", "--no-auth-warning", "get", "x")
    known = ("compose", "exec", "-T", "redis", "redis-cli", "config", "get")
    told = {name: stack.docker(*known, name).split()[1] for name in ("appendonly", "maxmemory-policy")}
    assert told == {"appendonly": "yes", "maxmemory-policy": "noeviction"}
    assert not any(stack.docker.container("redis")["NetworkSettings"]["Ports"].values())
    assert "only-for-trying-out" not in " ".join(stack.docker.container("redis")["Args"])


@pytest.mark.parametrize("service", ["redis", "api", "prometheus", "worker"])
def test_a_killed_container_comes_back_and_nothing_accepted_is_lost(stack, service: str) -> None:
    accepted = [stack.submit(seed=seed) for seed in range(4)]  # so that some still wait when it is killed
    before = stack.docker.container(service)["RestartCount"]
    stack.kill(service)
    stack.eventually(lambda: stack.docker.container(service)["RestartCount"] > before)
    assert [stack.finished(job)["status"] for job in accepted] == ["succeeded"] * 4
    stack.eventually(lambda: stack.client.get("/readyz").status_code == 200)
    assert {frames(stack.client.get(f"/v1/jobs/{job}/content").content) for job in accepted} == {8}
    assert stack.finished(stack.submit(seed=8))["status"] == "succeeded"


def test_the_healthcheck_sees_a_worker_whose_parent_takes_nothing(stack) -> None:
    stack.eventually(lambda: stack.healthcheck("--ready"))
    stack.kill("worker", signal.SIGSTOP)
    try:
        job = stack.submit(seed=9)
        assert stack.healthcheck(), "it has not waited for long yet"
        stack.eventually(lambda: not stack.healthcheck(), seconds=60)
    finally:
        stack.kill("worker", signal.SIGCONT)
    assert stack.finished(job)["status"] == "succeeded"
    stack.eventually(stack.healthcheck)


def test_a_compression_command_writes_an_artifact_that_the_worker_then_serves(stack) -> None:
    told = run(stack, "The compression job")
    assert "small-i2v" in told

    def served() -> bool:
        return any(model["name"] == "small-i2v-pruned" for model in stack.client.get("/v1/models").json())

    stack.eventually(served, seconds=60)


def test_it_stops_in_time_and_with_the_job_in_hand_done(stack) -> None:
    stack.eventually(lambda: stack.healthcheck("--ready"))
    job = stack.submit(seed=10)
    stack.eventually(lambda: stack.job(job)["status"] != "queued")
    began = time.monotonic()
    stack.docker("compose", "stop")
    assert time.monotonic() - began < 90
    codes = {name: stack.docker.state(name)["ExitCode"] for name in ("redis", "api", "worker", "prometheus")}
    assert codes == dict.fromkeys(codes, 0)
    stack.docker("compose", "up", "--wait", "redis", "api")
    assert stack.job(job)["status"] == "succeeded"


def test_a_backup_brings_back_jobs_and_clips_after_everything_was_removed(stack) -> None:
    """The settings for a service that others reach are tried out in between; the backup knows nothing of them."""
    job = next(each["id"] for each in stack.client.get("/v1/jobs").json()["jobs"] if each["status"] == "succeeded")
    run(stack, "Backup")
    key = run(stack, "Before others can reach it", only=("redis", "api")).split()[-1]
    assert stack.client.get("/v1/jobs").status_code == 401
    assert stack.client.get("/v1/jobs", headers={"Authorization": f"Bearer {key}"}).json()["jobs"] == []
    (stack.docker.folder / ".env").unlink()
    run(stack, "Restore", only=("redis", "api"))
    assert stack.job(job)["status"] == "succeeded"
    assert frames(stack.client.get(f"/v1/jobs/{job}/content").content) == 8
