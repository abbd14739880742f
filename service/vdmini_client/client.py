"""The sync client. What it does is in `flows`; here the steps are carried out, one after the other."""

import contextlib
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack

import httpx
from pydantic import PrivateAttr

from vdmini_client import calls, flows
from vdmini_client.answers import MODELS, Job, JobPage, Model
from vdmini_client.calls import Image, ImageOptions, Options
from vdmini_client.connection import DEFAULT_TIMEOUT_SECONDS, DEFAULT_URL, connection
from vdmini_client.errors import VDMiniError, error_of
from vdmini_client.flows import Flow, Follow, Pull, Send, Sleep, Step, Tell
from vdmini_client.pauses import Retries
from vdmini_client.receiving import Fingerprint

T = TypeVar("T")
Progress = Callable[[Job], None]


class Clip(Job):
    """A finished clip: its job, and the MP4 when asked for."""

    _client: "Client" = PrivateAttr()

    @classmethod
    def of(cls, job: Job, client: "Client") -> Self:
        """A finished job's clip."""
        clip = cls.model_validate(dict(job))
        clip._client = client
        return clip

    def save(self, path: str | Path) -> Path:
        """Write the MP4; it appears whole, and only if its hash is right."""
        return self._client.download(self, path)

    def content(self) -> bytes:
        """The MP4."""
        return self._client.content(self)

    def stream(self) -> Iterator[bytes]:
        """The MP4 piece by piece; what is wrong with it is said after the last one."""
        return self._client.stream(self)


class Client:
    """Talks to a VDMini service. Use it in `with`, or call `close`.

    Args:
        base_url: of the service.
        api_key: where the service asks for one; None takes `VDMINI_API_KEY` from the environment.
        timeout_seconds: for each single answer, or a part of one; waiting for a clip has its own.
        retries: bounds on sending a request again.
        events: whether to wait by the event stream; else by asking again and again.
        transport: another way of sending, such as a proxy or a test's.
    """

    def __init__(
        self,
        base_url: str = DEFAULT_URL,
        *,
        api_key: str | None = None,
        timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS,
        retries: Retries | None = None,
        events: bool = True,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self.retries, self.events = retries or Retries(), events
        self._http = httpx.Client(**connection(base_url, api_key, timeout_seconds), transport=transport)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def i2v(
        self,
        image: Image,
        *,
        progress: Progress | None = None,
        timeout_seconds: float | None = None,
        cancel_on_interrupt: bool = True,
        idempotency_key: str | None = None,
        extra: dict[str, Any] | None = None,
        **options: Unpack[ImageOptions],
    ) -> Clip:
        """Animate an image.

        Args:
            image: bytes, a path or an open file.
            progress: called with the job whenever it has changed.
            timeout_seconds: longest wait for the clip; None waits until the job ends.
            cancel_on_interrupt: whether Ctrl-C cancels the job.
            idempotency_key: makes a repeated call get the same job; a fresh one by default.
            extra: fields that a newer service knows and this client doesn't.
            **options: the API's fields.

        Raises:
            VDMiniError: one of its subclasses says what went wrong.
            OSError: when the image cannot be read.
        """
        job = self.submit_i2v(image, idempotency_key=idempotency_key, extra=extra, **options)
        return self.wait(
            job, progress=progress, timeout_seconds=timeout_seconds, cancel_on_interrupt=cancel_on_interrupt
        )

    def t2v(
        self,
        prompt: str,
        *,
        progress: Progress | None = None,
        timeout_seconds: float | None = None,
        cancel_on_interrupt: bool = True,
        idempotency_key: str | None = None,
        extra: dict[str, Any] | None = None,
        **options: Unpack[Options],
    ) -> Clip:
        """Make a clip from a sentence; the arguments are those of `i2v`."""
        job = self.submit_t2v(prompt, idempotency_key=idempotency_key, extra=extra, **options)
        return self.wait(
            job, progress=progress, timeout_seconds=timeout_seconds, cancel_on_interrupt=cancel_on_interrupt
        )

    def submit_i2v(
        self,
        image: Image,
        *,
        idempotency_key: str | None = None,
        extra: dict[str, Any] | None = None,
        **options: Unpack[ImageOptions],
    ) -> Job:
        """Have a job accepted that animates an image, and don't wait for it."""
        call = calls.image_to_video(image, {**options, **(extra or {})}, idempotency_key or str(uuid.uuid4()))
        return self._run(flows.submit(call, self.retries))

    def submit_t2v(
        self,
        prompt: str,
        *,
        idempotency_key: str | None = None,
        extra: dict[str, Any] | None = None,
        **options: Unpack[Options],
    ) -> Job:
        """Have a job accepted that makes a clip from a sentence, and don't wait for it."""
        call = calls.text_to_video(prompt, {**options, **(extra or {})}, idempotency_key or str(uuid.uuid4()))
        return self._run(flows.submit(call, self.retries))

    def wait(
        self,
        job: Job | str,
        *,
        progress: Progress | None = None,
        timeout_seconds: float | None = None,
        cancel_on_interrupt: bool = False,
    ) -> Clip:
        """Wait for a job, or for the job of an id.

        Raises:
            JobFailedError: when there is no clip; `JobCancelledError` when it was cancelled.
            WaitTimeoutError: when it takes longer; the job goes on.
        """
        known = self.job(job) if isinstance(job, str) else job
        flow = flows.wait(known, self.retries, timeout_seconds=timeout_seconds, events=self.events)
        try:
            return Clip.of(self._run(flow, progress), self)
        except KeyboardInterrupt:
            if cancel_on_interrupt:
                with contextlib.suppress(VDMiniError):
                    self.cancel(known)
            raise

    def job(self, job_id: str) -> Job:
        """A job as it is now."""
        return self._run(flows.get_job(job_id, self.retries))

    def cancel(self, job: Job | str) -> Job:
        """Cancel a job; a finished one stays as it is."""
        return self._run(flows.get(Job, calls.cancellation(_id(job)), self.retries))

    def jobs(self, *, after: str | None = None, limit: int = 20) -> JobPage:
        """A page of jobs, newest first; `after` is the `next` of the page before."""
        return self._run(flows.get(JobPage, calls.jobs(after, limit), self.retries))

    def models(self) -> tuple[Model, ...]:
        """The loaded models."""
        return MODELS.validate_json(self._run(flows.ask(calls.models(), self.retries)).content)

    def model(self, name: str) -> Model:
        """One loaded model."""
        return self._run(flows.get(Model, calls.models(name), self.retries))

    def download(self, job: Job | str, path: str | Path) -> Path:
        """Write a finished job's MP4; it appears whole, and only if its hash is right."""
        self._run(flows.download(self._known(job), Path(path), self.retries))
        return Path(path)

    def content(self, job: Job | str) -> bytes:
        """A finished job's MP4, after its hash was compared."""
        return self._run(flows.download(self._known(job), None, self.retries))

    def stream(self, job: Job | str) -> Iterator[bytes]:
        """A finished job's MP4 piece by piece.

        Raises:
            DamagedClipError: after the last piece, when they are not the clip.
        """
        known = self._known(job)
        fingerprint = Fingerprint(known.sha256)
        try:
            with self._http.stream("GET", calls.job(known.id, "/content").path, follow_redirects=True) as answer:
                if not answer.is_success:
                    answer.read()
                    raise error_of(answer)
                fingerprint.expect(answer.headers)
                for piece in answer.iter_bytes():
                    fingerprint.update(piece)
                    yield piece
        except httpx.HTTPError as error:
            raise flows.unreachable(error) from error
        fingerprint.check()

    def _known(self, job: Job | str) -> Job:
        return self.job(job) if isinstance(job, str) else job

    def _run(self, flow: Flow[T], progress: Progress | None = None) -> T:
        try:
            step = next(flow)
            while True:
                try:
                    came = self._do(step, progress)
                except httpx.HTTPError as error:
                    step = flow.throw(error)
                else:
                    step = flow.send(came)
        except StopIteration as end:
            result: T = end.value
            return result
        finally:
            flow.close()

    def _do(self, step: Step, progress: Progress | None) -> object:
        match step:
            case Send(call):
                return self._http.request(call.method, call.path, headers=call.headers, **call.arguments)
            case Pull():
                return self._pull(step)
            case Follow():
                return self._follow(step, progress)
            case Sleep(seconds):
                time.sleep(seconds)
            case Tell(job) if progress is not None:
                progress(job)
        return None

    def _pull(self, step: Pull) -> httpx.Response:
        with self._http.stream(step.call.method, step.call.path, follow_redirects=True) as answer:
            if not answer.is_success:
                answer.read()
                return answer
            step.receiver.fingerprint.expect(answer.headers)
            for piece in answer.iter_bytes():
                step.receiver.take(piece)
            return answer

    def _follow(self, step: Follow, progress: Progress | None) -> httpx.Response:
        step.reader.begin()
        timeout = flows.stream_timeout(self._http.timeout, step)
        with self._http.stream(step.call.method, step.call.path, headers=step.call.headers, timeout=timeout) as answer:
            for line in answer.iter_lines() if answer.status_code == 200 else ():
                job = step.reader.feed(line)
                if job is not None and progress is not None:
                    progress(job)
                if flows.is_over(step):
                    break
            return answer


def _id(job: Job | str) -> str:
    return job if isinstance(job, str) else job.id
