"""The async client. What it does is in `flows`; here the steps are awaited. Clips are written without a thread."""

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
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
Progress = Callable[[Job], Awaitable[None] | None]


class AsyncClip(Job):
    """A finished clip: its job, and the MP4 when asked for."""

    _client: "AsyncClient" = PrivateAttr()

    @classmethod
    def of(cls, job: Job, client: "AsyncClient") -> Self:
        """A finished job's clip."""
        clip = cls.model_validate(dict(job))
        clip._client = client
        return clip

    async def save(self, path: str | Path) -> Path:
        """Write the MP4; it appears whole, and only if its hash is right."""
        return await self._client.download(self, path)

    async def content(self) -> bytes:
        """The MP4."""
        return await self._client.content(self)

    def stream(self) -> AsyncIterator[bytes]:
        """The MP4 piece by piece; what is wrong with it is said after the last one."""
        return self._client.stream(self)


class AsyncClient:
    """Talks to a VDMini service. Use it in `async with`, or await `close`.

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
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.retries, self.events = retries or Retries(), events
        self._http = httpx.AsyncClient(**connection(base_url, api_key, timeout_seconds), transport=transport)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def i2v(
        self,
        image: Image,
        *,
        progress: Progress | None = None,
        timeout_seconds: float | None = None,
        cancel_on_interrupt: bool = True,
        idempotency_key: str | None = None,
        extra: dict[str, Any] | None = None,
        **options: Unpack[ImageOptions],
    ) -> AsyncClip:
        """Animate an image.

        Args:
            image: bytes, a path or an open file.
            progress: called with the job whenever it has changed; may be a coroutine function.
            timeout_seconds: longest wait for the clip; None waits until the job ends.
            cancel_on_interrupt: whether cancelling the awaiting task cancels the job.
            idempotency_key: makes a repeated call get the same job; a fresh one by default.
            extra: fields that a newer service knows and this client doesn't.
            **options: the API's fields.

        Raises:
            VDMiniError: one of its subclasses says what went wrong.
            OSError: when the image cannot be read.
        """
        job = await self.submit_i2v(image, idempotency_key=idempotency_key, extra=extra, **options)
        return await self.wait(
            job, progress=progress, timeout_seconds=timeout_seconds, cancel_on_interrupt=cancel_on_interrupt
        )

    async def t2v(
        self,
        prompt: str,
        *,
        progress: Progress | None = None,
        timeout_seconds: float | None = None,
        cancel_on_interrupt: bool = True,
        idempotency_key: str | None = None,
        extra: dict[str, Any] | None = None,
        **options: Unpack[Options],
    ) -> AsyncClip:
        """Make a clip from a sentence; the arguments are those of `i2v`."""
        job = await self.submit_t2v(prompt, idempotency_key=idempotency_key, extra=extra, **options)
        return await self.wait(
            job, progress=progress, timeout_seconds=timeout_seconds, cancel_on_interrupt=cancel_on_interrupt
        )

    async def submit_i2v(
        self,
        image: Image,
        *,
        idempotency_key: str | None = None,
        extra: dict[str, Any] | None = None,
        **options: Unpack[ImageOptions],
    ) -> Job:
        """Have a job accepted that animates an image, and don't wait for it."""
        call = calls.image_to_video(image, {**options, **(extra or {})}, idempotency_key or str(uuid.uuid4()))
        return await self._run(flows.submit(call, self.retries))

    async def submit_t2v(
        self,
        prompt: str,
        *,
        idempotency_key: str | None = None,
        extra: dict[str, Any] | None = None,
        **options: Unpack[Options],
    ) -> Job:
        """Have a job accepted that makes a clip from a sentence, and don't wait for it."""
        call = calls.text_to_video(prompt, {**options, **(extra or {})}, idempotency_key or str(uuid.uuid4()))
        return await self._run(flows.submit(call, self.retries))

    async def wait(
        self,
        job: Job | str,
        *,
        progress: Progress | None = None,
        timeout_seconds: float | None = None,
        cancel_on_interrupt: bool = False,
    ) -> AsyncClip:
        """Wait for a job, or for the job of an id.

        Raises:
            JobFailedError: when there is no clip; `JobCancelledError` when it was cancelled.
            WaitTimeoutError: when it takes longer; the job goes on.
        """
        known = await self.job(job) if isinstance(job, str) else job
        flow = flows.wait(known, self.retries, timeout_seconds=timeout_seconds, events=self.events)
        try:
            return AsyncClip.of(await self._run(flow, progress), self)
        except asyncio.CancelledError:
            if cancel_on_interrupt:
                with contextlib.suppress(VDMiniError):
                    await asyncio.shield(asyncio.ensure_future(self.cancel(known)))
            raise

    async def job(self, job_id: str) -> Job:
        """A job as it is now."""
        return await self._run(flows.get_job(job_id, self.retries))

    async def cancel(self, job: Job | str) -> Job:
        """Cancel a job; a finished one stays as it is."""
        return await self._run(flows.get(Job, calls.cancellation(_id(job)), self.retries))

    async def jobs(self, *, after: str | None = None, limit: int = 20) -> JobPage:
        """A page of jobs, newest first; `after` is the `next` of the page before."""
        return await self._run(flows.get(JobPage, calls.jobs(after, limit), self.retries))

    async def models(self) -> tuple[Model, ...]:
        """The loaded models."""
        return MODELS.validate_json((await self._run(flows.ask(calls.models(), self.retries))).content)

    async def model(self, name: str) -> Model:
        """One loaded model."""
        return await self._run(flows.get(Model, calls.models(name), self.retries))

    async def download(self, job: Job | str, path: str | Path) -> Path:
        """Write a finished job's MP4; it appears whole, and only if its hash is right."""
        await self._run(flows.download(await self._known(job), Path(path), self.retries))
        return Path(path)

    async def content(self, job: Job | str) -> bytes:
        """A finished job's MP4, after its hash was compared."""
        return await self._run(flows.download(await self._known(job), None, self.retries))

    async def stream(self, job: Job | str) -> AsyncIterator[bytes]:
        """A finished job's MP4 piece by piece.

        Raises:
            DamagedClipError: after the last piece, when they are not the clip.
        """
        known = await self._known(job)
        fingerprint = Fingerprint(known.sha256)
        try:
            async with self._http.stream("GET", calls.job(known.id, "/content").path, follow_redirects=True) as answer:
                if not answer.is_success:
                    await answer.aread()
                    raise error_of(answer)
                fingerprint.expect(answer.headers)
                async for piece in answer.aiter_bytes():
                    fingerprint.update(piece)
                    yield piece
        except httpx.HTTPError as error:
            raise flows.unreachable(error) from error
        fingerprint.check()

    async def _known(self, job: Job | str) -> Job:
        return await self.job(job) if isinstance(job, str) else job

    async def _run(self, flow: Flow[T], progress: Progress | None = None) -> T:
        try:
            step = next(flow)
            while True:
                try:
                    came = await self._do(step, progress)
                except httpx.HTTPError as error:
                    step = flow.throw(error)
                else:
                    step = flow.send(came)
        except StopIteration as end:
            result: T = end.value
            return result
        finally:
            flow.close()

    async def _do(self, step: Step, progress: Progress | None) -> object:
        match step:
            case Send(call):
                return await self._http.request(call.method, call.path, headers=call.headers, **call.arguments)
            case Pull():
                return await self._pull(step)
            case Follow():
                return await self._follow(step, progress)
            case Sleep(seconds):
                await asyncio.sleep(seconds)
            case Tell(job) if progress is not None:
                await _tell(progress, job)
        return None

    async def _pull(self, step: Pull) -> httpx.Response:
        async with self._http.stream(step.call.method, step.call.path, follow_redirects=True) as answer:
            if not answer.is_success:
                await answer.aread()
                return answer
            step.receiver.fingerprint.expect(answer.headers)
            async for piece in answer.aiter_bytes():
                step.receiver.take(piece)
            return answer

    async def _follow(self, step: Follow, progress: Progress | None) -> httpx.Response:
        step.reader.begin()
        timeout = flows.stream_timeout(self._http.timeout, step)
        async with self._http.stream(
            step.call.method, step.call.path, headers=step.call.headers, timeout=timeout
        ) as answer:
            if answer.status_code == 200:
                async for line in answer.aiter_lines():
                    job = step.reader.feed(line)
                    if job is not None and progress is not None:
                        await _tell(progress, job)
                    if flows.is_over(step):
                        break
            return answer


async def _tell(progress: Progress, job: Job) -> None:
    told = progress(job)
    if told is not None:
        await told


def _id(job: Job | str) -> str:
    return job if isinstance(job, str) else job.id
