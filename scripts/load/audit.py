"""What must hold when a run is over: one last state for each job, one right file for each success, true counters."""

import hashlib
import io
import re
from collections import Counter, defaultdict
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import av
import httpx
from clients import Order
from fleet import Fleet, wait_until

SETTLE_SECONDS = 120
RESULT = re.compile(r"(?P<job>[0-9a-f]{32})\.(?P<attempt>\d+)\.(?P<kind>mp4|webp)")
FINISHED = ("succeeded", "failed", "cancelled")


def audit(fleet: Fleet, accepted: Mapping[str, Order]) -> dict[str, Any]:
    """Check a fleet that gets no more jobs.

    Returns:
        Figures, and under `defects` a sentence for each thing that is wrong.
    """
    with httpx.Client(base_url=next(iter(fleet.apis)), timeout=60, trust_env=False) as client:
        jobs = _settled(client)
        counted = Counter(job["status"] for job in jobs.values())
        defects = [f"accepted job {each} is not known" for each in accepted if each not in jobs]
        defects += [
            f"job {each} ended as {job['status']}" for each, job in jobs.items() if job["status"] not in FINISHED
        ]
        wrong_files, leftovers = _files(fleet.results, jobs)
        defects += wrong_files
        defects += _clips(fleet, jobs)
        defects += _equal_orders(jobs, accepted)
        defects += _counters(client.get("/metrics").text, counted)
    return {
        "accepted_jobs": len(accepted),
        "jobs_whose_answer_was_lost": len(set(jobs) - set(accepted)),
        "outcomes": dict(counted),
        "attempts": dict(sorted(Counter(job["attempts"] for job in jobs.values()).items())),
        "failures": dict(
            Counter((job["error"] or {}).get("type", "none") for job in jobs.values() if job["status"] == "failed")
        ),
        "leftover_files": leftovers,
        "defects": defects,
    }


def _settled(client: httpx.Client) -> dict[str, dict[str, Any]]:
    """All jobs, once the ones that no client follows have ended too."""
    jobs: dict[str, dict[str, Any]] = {}

    def look() -> bool:
        jobs.clear()
        jobs.update(every_job(client))
        return all(job["status"] in FINISHED for job in jobs.values())

    with suppress(TimeoutError):  # the ones that are left are told as defects
        wait_until(look, seconds=SETTLE_SECONDS, every=0.5)
    return jobs


def every_job(client: httpx.Client) -> dict[str, dict[str, Any]]:
    """All pages of the list, by id."""
    found, after = {}, None
    while True:
        parameters = {"limit": "100"} | ({"after": after} if after else {})
        page = client.get("/v1/jobs", params=parameters).raise_for_status().json()
        found.update({job["id"]: job for job in page["jobs"]})
        after = page["next"]
        if after is None:
            return found


def _files(folder: Path, jobs: Mapping[str, dict[str, Any]]) -> tuple[list[str], int]:
    """What is wrong with the files that clients can get, and how many others a killed worker has left behind."""
    held: defaultdict[str, list[int]] = defaultdict(list)
    leftovers = 0
    for path in folder.iterdir():
        match = RESULT.fullmatch(path.name)
        if match is None:
            leftovers += 1
        elif match["kind"] == "mp4":
            held[match["job"]].append(int(match["attempt"]))
        else:
            leftovers += not _succeeded_in(jobs.get(match["job"]), int(match["attempt"]))
    defects = [f"job {each} is unknown and has a file" for each in held if each not in jobs]
    for each, job in jobs.items():
        good = [job["attempts"]] if job["status"] == "succeeded" else []
        leftovers += sum(attempt not in good for attempt in held[each])
        if not set(good) <= set(held[each]):
            defects.append(f"job {each} succeeded in attempt {job['attempts']} and has files of {held[each]}")
        if any(attempt > job["attempts"] for attempt in held[each]):
            defects.append(f"job {each} has {job['attempts']} attempts and files of {held[each]}")
    return defects, leftovers


def _succeeded_in(job: Mapping[str, Any] | None, attempt: int) -> bool:
    return job is not None and job["status"] == "succeeded" and job["attempts"] == attempt


def _clips(fleet: Fleet, jobs: Mapping[str, dict[str, Any]]) -> list[str]:
    defects = []
    urls = list(fleet.apis)
    succeeded = [job for job in jobs.values() if job["status"] == "succeeded"]
    with httpx.Client(timeout=60, trust_env=False) as client:
        for number, job in enumerate(succeeded):
            answer = client.get(f"{urls[number % len(urls)]}/v1/jobs/{job['id']}/content")
            if answer.status_code != 200:
                defects.append(f"the clip of job {job['id']} is answered {answer.status_code}")
            elif (wrong := _wrong(answer.content, job)) is not None:
                defects.append(f"the clip of job {job['id']} {wrong}")
    return defects


def _wrong(mp4: bytes, job: Mapping[str, Any]) -> str | None:
    if hashlib.sha256(mp4).hexdigest() != job["sha256"] or len(mp4) != job["size_bytes"]:
        return "has another hash or length than the job says"
    try:
        with av.open(io.BytesIO(mp4)) as container:
            sizes = [(frame.width, frame.height) for frame in container.decode(video=0)]
    except av.FFmpegError as error:
        return f"cannot be decoded: {error}"
    wanted = [(job["width"], job["height"])] * job["num_frames"]
    return None if sizes == wanted else f"has frames {sizes}, wanted are {wanted}"


def _equal_orders(jobs: Mapping[str, dict[str, Any]], accepted: Mapping[str, Order]) -> list[str]:
    """Equal orders must have given equal files, whoever ran them in whichever attempt."""
    hashes: defaultdict[tuple[str, Any], set[str]] = defaultdict(set)
    for each, order in accepted.items():
        if each in jobs and jobs[each]["status"] == "succeeded":
            hashes[order.task, order.fields].add(jobs[each]["sha256"])
    return [f"{key} gave {len(found)} different files" for key, found in hashes.items() if len(found) > 1]


def _counters(text: str, counted: Mapping[str, int]) -> list[str]:
    lines = [line for line in text.splitlines() if line.startswith("vdmini_jobs_total{")]
    shown: Counter[str] = Counter()
    for line in lines:
        outcome = line.partition('outcome="')[2].partition('"')[0]
        shown[outcome] += int(float(line.rsplit(" ", 1)[1]))
    return [
        f"/metrics counts {shown[outcome]} jobs as {outcome}, there are {counted.get(outcome, 0)}"
        for outcome in FINISHED
        if shown[outcome] != counted.get(outcome, 0)
    ]
