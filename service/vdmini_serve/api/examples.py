"""Examples for the OpenAPI document. Tests hold each of them against the schema beside which it is shown."""

from typing import Any

from vdmini_serve.contract.problem import Problem, ProblemKind, problem
from vdmini_serve.contract.request import EXAMPLE_PROMPT

JOB_ID = "0123456789abcdef0123456789abcdef"
BALLOT_ID = "fedcba9876543210fedcba9876543210"
MODEL_NAME = "small-t2v"
SHA256 = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
"""A PNG of one pixel in base64."""

_WORK: dict[str, Any] = {
    "task": "t2v",
    "model": MODEL_NAME,
    "variant": "vdmini",
    "width": 64,
    "height": 64,
    "num_frames": 8,
    "fps": 8,
    "num_inference_steps": 4,
    "guidance_scale": 1.0,
    "seed": 7,
}
JOB: dict[str, Any] = {
    "id": JOB_ID,
    "status": "succeeded",
    "progress": 1.0,
    **_WORK,
    "priority": "normal",
    "cost": 131072,
    "queue_position": None,
    "eta_seconds": None,
    "expected_seconds": 0.33,
    "choice": None,
    "attempts": 1,
    "created_at": 1767225600.0,
    "started_at": 1767225600.02,
    "finished_at": 1767225600.41,
    "expires_at": 1767830400.41,
    "timings": {"queue": 0.02, "encode": 0.01, "denoise": 0.21, "decode": 0.1, "mp4": 0.07, "total": 0.41},
    "baseline_seconds": 0.64,
    "baseline_samples": 12,
    "baseline_age_seconds": 310.0,
    "speedup": 2.0,
    "device": "cpu float32",
    "size_bytes": 5120,
    "sha256": SHA256,
    "error": None,
    "escalated": False,
    "escalation_reason": None,
    "webhook": None,
}
QUEUED_JOB: dict[str, Any] = {
    **JOB,
    "status": "queued",
    "progress": 0.0,
    "queue_position": 2,
    "eta_seconds": 1.1,
    "attempts": 0,
    "started_at": None,
    "finished_at": None,
    "expires_at": None,
    "timings": {},
    **dict.fromkeys(("baseline_seconds", "baseline_samples", "baseline_age_seconds", "speedup", "device")),
    **dict.fromkeys(("size_bytes", "sha256")),
}
JOB_PAGE = {"jobs": [JOB], "next": None}
EVENTS = (
    f'id: 3f1d2c4b5a697887\r\ndata: {{"id":"{JOB_ID}","status":"running","progress":0.5}}\r\n\r\n: keep-alive\r\n\r\n'
)
"""Shortened: the data of an event is the whole job."""

VIDEO: dict[str, Any] = {
    "id": JOB_ID,
    "object": "video",
    "model": MODEL_NAME,
    "status": "completed",
    "progress": 100,
    "created_at": 1767225600,
    "completed_at": 1767225600,
    "expires_at": 1767830400,
    "seconds": "1",
    "size": "64x64",
    **{name: _WORK[name] for name in ("num_frames", "fps", "num_inference_steps", "guidance_scale", "seed")},
    "speedup": 2.0,
    "error": None,
}
QUEUED_VIDEO: dict[str, Any] = {
    **VIDEO,
    "status": "queued",
    "progress": 0,
    "completed_at": None,
    "expires_at": None,
    "speedup": None,
}
VIDEO_PAGE = {"object": "list", "data": [VIDEO], "first_id": JOB_ID, "last_id": JOB_ID, "has_more": False}
DELETED_VIDEO = {"id": JOB_ID, "object": "video.deleted", "deleted": True}

MODEL: dict[str, Any] = {
    "name": MODEL_NAME,
    "variant": "vdmini",
    "task": "t2v",
    "family": "videocrafter2",
    "teacher": {"id": "small-t2v-teacher", "revision": None, "sha256": SHA256, "licence": "Apache-2.0"},
    "removed_blocks": ["down_blocks.2.resnets.1"],
    "limits": {
        "sizes": [[64, 64]],
        "min_num_frames": 8,
        "max_num_frames": 8,
        "min_fps": 4,
        "max_fps": 16,
        "num_inference_steps": [4, 8, 16],
        "max_prompt_tokens": 77,
    },
    "defaults": {
        **{name: _WORK[name] for name in ("width", "height", "num_frames", "fps", "num_inference_steps")},
        "guidance_scale": 1.0,
        "motion_bucket_id": 127,
        "noise_aug_strength": 0.02,
    },
    "cost": {"parameters": 2_000_000},
    "latency": [{"device": "cpu float32", "teacher_seconds": 0.64, "student_seconds": 0.32}],
    "quality": {"vdmini": {"appearance_error": 0.02}, "teacher": {"appearance_error": 0.01}},
    "budgets": {
        "max_upload_bytes": 20_971_520,
        "max_image_pixels": 40_000_000,
        "max_prompt_characters": 2000,
        "max_cost": 524_288,
        "max_queue_seconds": 3600.0,
    },
    "expected_seconds": 0.33,
}

RECEIPT: dict[str, Any] = {
    "name": MODEL_NAME,
    "recipe": {"plan": "latency=0.75", "seed": 0},
    "training": {"distill_seconds": 744.4},
    "unet": {"widths": [32, 32, 64, 64], "pairs": [2, 2, 2, 2]},
    "importance": {
        "device": "cpu x86_64 x2",
        "data": "the small world",
        "clips": 16,
        "forward_seconds": 0.13,
        "content": {"words": "appearance error", "unit": "0 to 1"},
        "motion": {"words": "trajectory error", "unit": "pixels"},
        "measured_at": "2026-01-01T00:00:00+00:00",
        "blocks": [
            {
                "name": "down_blocks.0.resnets.0",
                "label": "D0 pair 0",
                "kind": "pair",
                "content_lost": 0.026,
                "motion_lost": 0.34,
                "seconds_saved": 0.007,
            }
        ],
    },
    "files": {"unet/config.json": SHA256},
    "left_out": [],
    "measured_here": [
        {
            "device": "cpu float32",
            "size": "64x64x8",
            "num_inference_steps": 4,
            "guidance": True,
            "seconds": 0.33,
            "runs": 12,
            "measured_at": 1767225600.0,
            "teacher_seconds": 0.64,
            "teacher_runs": 12,
        }
    ],
}

COMPARISON = {
    "id": "00112233445566778899aabbccddeeff",
    "task": "t2v",
    "model": MODEL_NAME,
    "teacher": "small-t2v-teacher",
    "votes": 0,
    "expires_at": 1767830400.41,
}
BALLOT = {
    "id": BALLOT_ID,
    **{name: _WORK[name] for name in ("task", "width", "height", "num_frames", "fps")},
    "clips": {side: f"/v1/comparisons/ballots/{BALLOT_ID}/clips/{side}" for side in ("left", "right")},
    "to_vote": 3,
    "expires_at": 1767229200.0,
}
PREFERENCE = {
    "task": "t2v",
    "model": MODEL_NAME,
    "question": "looks",
    "vdmini": 4,
    "same": 3,
    "teacher": 5,
    "rate": 0.4583,
    "low": 0.2185,
    "high": 0.7199,
}
REVEAL = {
    "left": {"variant": "teacher", "model": "small-t2v-teacher", "job": JOB_ID},
    "right": {"variant": "vdmini", "model": MODEL_NAME, "job": JOB_ID[::-1]},
    "preferences": [PREFERENCE],
}
STANDINGS = {"comparisons": 3, "preferences": [PREFERENCE]}

WORKER = {"id": "5f0c", "state": "idle", "models": [MODEL_NAME], "device": "cpu float32", "at": 1767225600.0}
READY = {"status": "ready", "workers": [WORKER]}
NOT_READY = {"status": "no worker with loaded models", "workers": []}
ALIVE = {"status": "alive"}
METRICS = 'vdmini_jobs_total{outcome="succeeded",task="t2v",variant="vdmini"} 12.0\n'

ANSWERS: dict[str, Any] = {
    "Job": JOB,
    "QueuedJob": QUEUED_JOB,
    "JobPage": JOB_PAGE,
    "Video": VIDEO,
    "QueuedVideo": QUEUED_VIDEO,
    "VideoPage": VIDEO_PAGE,
    "DeletedVideo": DELETED_VIDEO,
    "Model": MODEL,
    "Models": [MODEL],
    "Receipt": RECEIPT,
    "Comparison": COMPARISON,
    "Ballot": BALLOT,
    "Reveal": REVEAL,
    "Standings": STANDINGS,
    "Ready": READY,
    "NotReady": NOT_READY,
    "Alive": ALIVE,
}
"""JSON answers by the name under which the document has them."""

TEXT_TO_VIDEO = {"prompt": EXAMPLE_PROMPT, "seed": 7}
IMAGE_TO_VIDEO = {"image": PIXEL, "motion_bucket_id": 127, "seed": 7}
VIDEO_REQUEST = {"model": "vdmini", "prompt": EXAMPLE_PROMPT, "seconds": "1", "size": "64x64"}
VIDEO_FORM = {"model": "vdmini", "input_reference": "(the file)", "seconds": "1", "size": "64x64"}

BODIES: dict[str, dict[str, Any]] = {
    "NewComparison": {"jobs": [JOB_ID, JOB_ID[::-1]]},
    "NewBallot": {"voter": "5a0e8f1c2b7d4936a1c0"},
    "Vote": {"looks": "left", "moves": "same"},
}
"""Bodies that are JSON only."""

DETAILS: dict[ProblemKind, str] = {
    ProblemKind.BROKEN_JSON: "the body is no valid JSON: Expecting value at line 1 column 12; send one JSON object",
    ProblemKind.BROKEN_FORM: "the form cannot be read: Missing boundary in multipart.",
    ProblemKind.UNKNOWN_JOB: "there is no job 'nope'; ids are what POST answered in `id` and in `Location`",
    ProblemKind.UNKNOWN_MODEL: f"no model 'gold' is loaded; loaded are {MODEL_NAME}",
    ProblemKind.JOB_NOT_SUCCEEDED: f"the job is running and has no clip; GET /v1/jobs/{JOB_ID} tells more",
    ProblemKind.JOB_CANCELLED: "the job was cancelled while this request waited",
    ProblemKind.CONTENT_GONE: "the clip was removed; send the request again",
    ProblemKind.BODY_TOO_LARGE: "the body has more than the 20971520 bytes that are allowed here; send a smaller image "
    "or a shorter text",
    ProblemKind.UNSUPPORTED_CONTENT_TYPE: "got a body of type 'text/plain'; send application/json or "
    "multipart/form-data",
    ProblemKind.RANGE_NOT_SATISFIABLE: "the clip has 5120 bytes, 'bytes=9999-' starts behind them",
    ProblemKind.UNKNOWN_FIELD: "unknown field 'promt'; allowed are variant, width, height, prompt",
    ProblemKind.MISSING_FIELD: "field 'prompt' is missing",
    ProblemKind.INVALID_FIELD: "limit: Input should be greater than or equal to 1, got '0'",
    ProblemKind.OUTSIDE_LIMITS: f"num_frames is 10000; {MODEL_NAME} allows 8 to 8",
    ProblemKind.UNKNOWN_VARIANT: f"unknown variant 'gold' for t2v; allowed are vdmini, teacher, {MODEL_NAME}",
    ProblemKind.PROMPT_TOO_LONG: "prompt has 10000 characters; at most 2000 are allowed. Shorten it",
    ProblemKind.UNSUPPORTED_IMAGE: "image is a damaged PNG file (OSError); save it again and send that",
    ProblemKind.IMAGE_TOO_LARGE: "image has 30000x30000 pixels; at most 40000000 (width x height) are allowed. "
    "Scale it down first",
    ProblemKind.URL_REFUSED: "image_url cannot be used: its address is not public; give a public https URL, or upload "
    "the file",
    ProblemKind.IMAGE_UNREACHABLE: "image_url cannot be used: the server answered 404; check the URL, or upload the "
    "file",
    ProblemKind.IMAGE_TOO_SLOW: "image_url cannot be used: it took longer than 10 s; try again, or upload the file",
    ProblemKind.FEATURE_OFF: "image_url is switched off here; upload the file as image",
    ProblemKind.QUEUE_FULL: "200 jobs are waiting or running, no more are taken; try again later",
    ProblemKind.QUEUE_TOO_SLOW: "the job is expected to start in 30.0 s, its max_queue_seconds is 10; try again later",
    ProblemKind.QUEUED_TOO_LONG: "No worker started the job within its max_queue_seconds; try again later, or allow a "
    "longer wait.",
    ProblemKind.NO_VARIANT_FAST_ENOUGH: "no model was measured to take at most 0.1 s; allow more, or ask for less",
    ProblemKind.TOO_MANY_OF_YOURS: "4 jobs of this API key are waiting or running, which is its limit; try again later",
    ProblemKind.TOO_MANY_REQUESTS: "more requests than 60 per minute; try again later",
    ProblemKind.KEY_MISSING: "an API key is needed: send the header `Authorization: Bearer KEY`; `vdmini-serve keys "
    "add` makes keys",
    ProblemKind.KEY_UNKNOWN: "this API key is not known here; it may have been removed",
    ProblemKind.PRIORITY_NOT_ALLOWED: "priority is 'high'; this API key may ask for 'normal' at most",
    ProblemKind.IDEMPOTENCY_CONFLICT: "this Idempotency-Key was used for another request; send the same one again, or "
    "take a new key",
    ProblemKind.NOT_COMPARABLE: "the two jobs differ in seed; only the model may differ; send the same request twice, "
    "with the same seed, as `vdmini` and as `teacher`",
    ProblemKind.UNKNOWN_BALLOT: "there is no ballot 'nope'; it may have expired, or its clips: draw another one",
    ProblemKind.ALREADY_VOTED: "a vote on these two clips was counted already, and stays as it is; draw the next "
    "ballot",
    ProblemKind.INTERNAL_ERROR: "the service failed; its log has the traceback",
    ProblemKind.WORKER_LOST: "The worker died during each of the 3 attempts at this job; see the worker's log, then "
    "try again.",
    ProblemKind.NO_MODEL_LOADED: "no model for t2v is loaded; try again in a moment, or see GET /readyz and "
    "GET /v1/models",
    ProblemKind.STORE_UNAVAILABLE: "the job store cannot be reached; try again in a moment",
    ProblemKind.OUT_OF_MEMORY: "The device has too little memory for this job; ask for fewer frames or a smaller size.",
    ProblemKind.STORAGE_FULL: "The result could not be stored (No space left on device); try again later.",
}


def example_problem(kind: ProblemKind) -> dict[str, Any]:
    """A problem of a kind as clients get it."""
    example: Problem = problem(kind, DETAILS[kind])
    return example.model_dump(mode="json", exclude_none=True, exclude_defaults=True)
