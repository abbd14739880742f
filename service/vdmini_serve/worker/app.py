"""The Celery worker: a parent that never imports torch, a child that holds the models and runs `worker.runner`."""

import logging
import os
import secrets
import signal
import socket
import sys
import threading
import time
import warnings
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from celery import Celery
from celery.exceptions import Reject, SecurityWarning
from celery.signals import setup_logging, worker_process_init, worker_process_shutdown
from redis import Redis
from redis.exceptions import RedisError

from vdmini_serve.contract.broker import create_celery
from vdmini_serve.contract.keys import TASK_NAME, queue_names
from vdmini_serve.contract.model import ModelDescriptor, WorkerBeat
from vdmini_serve.contract.settings import Settings
from vdmini_serve.contract.tracing import HandsOn, Tracer, open_tracer
from vdmini_serve.results.scratch import remove_partial
from vdmini_serve.worker import heartbeat
from vdmini_serve.worker.models import artifact_folders, chosen_runtime, verified
from vdmini_serve.worker.receipt import receipts_of
from vdmini_serve.worker.runner import Runner
from vdmini_serve.worker.shadow import Shadow
from vdmini_serve.worker.shelf import Shelf, load
from vdmini_serve.worker.soft_shutdown import end_softly
from vdmini_serve.worker.store import WorkerStore
from vdmini_serve.worker.volume import volume_of
from vdmini_serve.worker.warmup import warm_up
from vdmini_serve.worker.watch import Watch

log = logging.getLogger(__name__)

LOAD_FAILED = "vdmini:load-failed:"
"""Redis key, completed by the worker's id, under which a child leaves why it could not load its models."""


class Child:
    """The process that holds the models.

    Args:
        settings: of the service.
        owner: id of the worker, the same for each child that its parent starts.
        app: whose parent is told which queues to listen to.
    """

    def __init__(self, settings: Settings, owner: str, app: Celery) -> None:
        self.settings, self.owner, self.app = settings, owner, app
        self.shelf = Shelf(settings, {})
        self.watch: Watch | None = None
        self.store = WorkerStore(Redis.from_url(settings.jobs_url.get_secret_value()), settings, owner)
        self.beat = WorkerBeat(id=owner, state="loading", models=(), at=0)
        self.volume = volume_of(settings)
        self._saying = threading.Lock()
        self.runner: Runner | None = None
        self.tracer: Tracer = HandsOn()
        self.shadow: Shadow | None = None

    def start(self) -> None:
        """Load, measure, and give signs of life from now on."""
        self.tracer = open_tracer(self.settings, "worker")
        self.volume.start()
        threading.Thread(target=self._keep_beating, name="heartbeat", daemon=True).start()
        self.shelf = shelf = load(self.settings)
        self._watch_folder()
        if not shelf:
            verified(())  # says that there is nothing to serve
        self._say("warming")
        self.shadow = Shadow(self.settings, self.store, shelf)
        self.runner = Runner(self.settings, self.store, shelf, shadow=self.shadow, tracer=self.tracer)
        self.settings.results_dir.mkdir(parents=True, exist_ok=True)
        remove_partial(self.settings.scratch_dir, older_than_seconds=self.settings.result_grace_seconds)
        self.runner.delivery.warm_up()
        warm_up(shelf, self.runner.baselines, self.settings)
        device = shelf[next(iter(shelf))].device
        self._announce()
        self._say("idle", device=device)
        self.shadow.start()

    def run(self, job_id: str) -> None:
        """Run a job."""
        if self.runner is None or self.shadow is None:
            raise RuntimeError("the child got a job before its models were loaded")
        self._say("busy")
        try:
            with self.shadow.paused():
                self.runner.run(job_id)
        finally:
            self._say("idle")

    def _watch_folder(self) -> None:
        root = self.settings.artifacts_dir
        if root is not None:
            self.watch = Watch(root, self.shelf, self._announce)
            self.watch.look()
            self.watch.start(self.settings.artifacts_scan_seconds)

    def _announce(self) -> None:
        """Tell API and broker what there is now."""
        if self.beat.state == "loading":
            return
        gone = set(self.beat.models) - set(self.shelf)
        self.store.publish_models(self.shelf.descriptors(), gone=gone)
        self.store.publish_receipts(receipts_of(self.shelf.folders()))
        self._say(models=tuple(self.shelf), refused=dict(self.watch.refused) if self.watch else {})
        for task in {descriptor.task for descriptor in self.shelf.descriptors()}:
            for queue in queue_names(task):
                self.app.control.add_consumer(queue, destination=[node_name(self.owner)])

    def stop(self) -> None:
        """Finish what is being written, and leave the list of workers."""
        if self.shadow is not None:
            self.shadow.close()
        if self.runner is not None:
            self.runner.aftermath.close()
        self.tracer.close()
        self.store.retire()

    def _say(self, state: str | None = None, **changes: Any) -> None:
        """Change the sign of life; the thread that watches artifacts does so, too, beside the one that runs jobs."""
        now = time.time()
        with self._saying:
            told = state or self.beat.state
            since = self.beat.since if told == self.beat.state else now
            self.beat = self.beat.model_copy(update={"state": told, "since": since, **changes})
            self._publish(self._fresh(now))

    def _publish(self, beat: WorkerBeat) -> None:
        """The file first: Redis may be away, which is no fault of this process."""
        try:
            heartbeat.write(self.settings.heartbeat_file, beat)
        except OSError as error:  # a full disk must end neither the thread nor a job; the file's age tells
            log.warning("no sign of life on this machine: %s", error)
        self.store.publish_beat(beat)

    def _fresh(self, now: float) -> WorkerBeat:
        peaks = self.runner.peaks.told() if self.runner else {}
        return self.beat.model_copy(
            update={"at": now, "artifacts_disk": self.volume.disk, "gpu_memory_peak_bytes": peaks}
        )

    def _keep_beating(self) -> None:
        while True:
            try:
                self._publish(self._fresh(time.time()))
            except RedisError as error:
                log.warning("no sign of life: %s", error)
            time.sleep(self.settings.heartbeat_seconds)


def create_worker(settings: Settings, owner: str) -> Celery:
    """Make the Celery application with its task, and tell its child what to load."""
    app = create_celery(settings)
    children: list[Child] = []

    @app.task(name=TASK_NAME)
    def run(job_id: str) -> None:
        try:
            children[0].run(job_id)
        except RedisError as error:
            log.warning("job %s goes back to the queue: %s", job_id, error)
            time.sleep(settings.heartbeat_seconds)
            raise Reject(str(error), requeue=True) from error

    def start_child(**_: Any) -> None:
        child = Child(settings, owner, app)
        try:
            child.start()
        except RedisError as error:
            log.warning("this child ends and another one loads the models, Redis was away: %s", error)
            time.sleep(settings.heartbeat_seconds)
            os._exit(1)  # Celery would send jobs to a child whose start raised, and they would be lost
        except Exception as error:
            log.exception("the models could not be loaded")
            with suppress(RedisError):
                child.store.redis.set(LOAD_FAILED + owner, str(error), ex=3600)
            os.kill(os.getppid(), signal.SIGTERM)
        children.append(child)

    def stop_child(**_: Any) -> None:
        for child in children:
            child.stop()

    def keep_our_logging(**_: Any) -> None:
        """Being connected is all it takes: Celery then sets up no logging of its own."""

    worker_process_init.connect(start_child, weak=False)
    worker_process_shutdown.connect(stop_child, weak=False)
    setup_logging.connect(keep_our_logging, weak=False)
    return app


def main(settings: Settings) -> int:
    """Run a worker until it is told to stop.

    Returns:
        Exit code: 1 when the models could not be loaded.

    Raises:
        vdmini.artifact.ArtifactError: when an artifact is damaged, before anything is started.
        vdmini_serve.worker.heartbeat.NoHeartbeatError: when its file cannot be written.
        RuntimeChoiceError: when the engine has no such switch.
    """
    chosen_runtime(settings)
    owner = secrets.token_hex(8)
    heartbeat.begin(settings.heartbeat_file, owner)
    descriptors = _first_models(settings)
    warnings.filterwarnings("ignore", category=SecurityWarning)  # about root and pickle: messages are JSON only
    app = create_worker(settings, owner)
    tasks = sorted({descriptor.task for descriptor in descriptors})
    queues = ",".join(name for task in tasks for name in queue_names(task))
    end_softly(app, settings, owner)
    _run_celery(app, ["-Q", queues, "-n", node_name(owner)])
    redis = Redis.from_url(settings.jobs_url.get_secret_value(), decode_responses=True)
    redis.hdel("vdmini:workers", owner)
    heartbeat.end(settings.heartbeat_file)
    failure: Any = redis.get(LOAD_FAILED + owner)
    if failure:
        sys.stderr.write(f"vdmini-serve worker: {failure!s}\n")
    return 1 if failure else 0


def node_name(owner: str) -> str:
    """A worker's name in Celery."""
    return f"{owner}@{socket.gethostname()}"


def _first_models(settings: Settings) -> list[ModelDescriptor]:
    """What can be served at the start. A damaged artifact is an error, but for one in the folder that is watched."""
    from vdmini.artifact import ArtifactError

    found = list(verified(settings.artifacts)) if settings.artifacts or settings.artifacts_dir is None else []
    for folder in artifact_folders(settings.artifacts_dir):
        try:
            found += verified([folder])
        except ArtifactError as error:
            log.error("artifact %s is not served: %s", folder.name, error)
    return found or list(verified(()))


def _run_celery(app: Celery, arguments: Sequence[str]) -> None:
    try:
        app.worker_main(["--quiet", "worker", "--pool=prefork", "--without-gossip", "--without-mingle", *arguments])
    except SystemExit as end:
        log.info("celery ended with %s", end.code)
