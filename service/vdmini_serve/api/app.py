"""The FastAPI application, made by a function: nothing happens at import."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from fastapi import FastAPI
from PIL import Image
from redis.asyncio import Redis

from vdmini_serve.api import (
    background,
    comparisons,
    errors,
    events,
    generate,
    health,
    jobs,
    models,
    openapi,
    receipts,
    videos,
)
from vdmini_serve.api.allocator import give_back_large_blocks
from vdmini_serve.api.expectations import ExpectationsCache
from vdmini_serve.api.expiry import Expiry
from vdmini_serve.api.feeds import JobFeeds
from vdmini_serve.api.finished import FinishedJobs
from vdmini_serve.api.outgoing import open_outgoing
from vdmini_serve.api.page import page_router
from vdmini_serve.api.queue import Queue
from vdmini_serve.api.rates import Rates
from vdmini_serve.api.reaper import reap
from vdmini_serve.api.request_log import RequestLog
from vdmini_serve.api.results import Results
from vdmini_serve.api.state import Service
from vdmini_serve.api.store import ApiStore
from vdmini_serve.api.trace import RequestTrace
from vdmini_serve.api.webhook_document import document_webhook
from vdmini_serve.api.webhooks import WebhookSender
from vdmini_serve.contract.broker import create_celery
from vdmini_serve.contract.settings import Settings
from vdmini_serve.contract.tracing import open_tracer
from vdmini_serve.results.store import open_store

SUMMARY = "Compressed video diffusion models, served beside their uncompressed baseline."


def create_app(settings: Settings) -> FastAPI:
    """Make the application."""
    app = FastAPI(
        title="VDMini", summary=SUMMARY, version="1", docs_url=None, redoc_url=None, lifespan=_lifespan(settings)
    )
    errors.install(app)
    tracer = open_tracer(settings, "api")
    app.state.tracer = tracer
    app.add_middleware(RequestTrace, tracer=tracer)
    app.add_middleware(RequestLog)
    document_webhook(app)
    for module in (generate, jobs, events, videos, models, receipts, comparisons, health):
        app.include_router(module.router)
    app.include_router(page_router())
    openapi.install(app)
    return app


def _lifespan(settings: Settings) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        Image.MAX_IMAGE_PIXELS = settings.max_image_pixels
        give_back_large_blocks()
        celery = create_celery(settings)
        async with (
            Redis.from_url(settings.jobs_url.get_secret_value(), decode_responses=True) as redis,
            open_outgoing(settings) as outgoing,
        ):
            store = ApiStore(redis, settings)
            finished = FinishedJobs(store)
            queue, results = Queue(store), Results(open_store(settings))
            expiry = Expiry(store, results)
            app.state.service = Service(
                settings=settings,
                store=store,
                celery=celery,
                finished=finished,
                feeds=JobFeeds(store, finished, queue),
                queue=queue,
                expectations=ExpectationsCache(store),
                rates=Rates(redis),
                outgoing=outgoing,
                results=results,
                expiry=expiry,
            )
            work = [finished.listen(), reap(store, celery), expiry.keep_clean()]
            if settings.webhook_secrets:
                work.append(WebhookSender(store, outgoing).run())
            tasks = [asyncio.create_task(each) for each in work]
            try:
                yield
            finally:
                await background.end(tasks)
                celery.close()
                app.state.tracer.close()

    return lifespan
