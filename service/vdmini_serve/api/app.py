"""The FastAPI application, made by a function: nothing happens at import."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from fastapi import FastAPI
from PIL import Image
from redis.asyncio import Redis

from vdmini_serve.api import errors, generate, health, jobs, models
from vdmini_serve.api.allocator import give_back_large_blocks
from vdmini_serve.api.finished import FinishedJobs
from vdmini_serve.api.reaper import reap
from vdmini_serve.api.state import Service
from vdmini_serve.api.store import ApiStore
from vdmini_serve.contract.broker import create_celery
from vdmini_serve.contract.settings import Settings

SUMMARY = "Compressed video diffusion models, served beside their uncompressed baseline."


def create_app(settings: Settings) -> FastAPI:
    """Make the application."""
    app = FastAPI(title="VDMini", summary=SUMMARY, version="1", lifespan=_lifespan(settings))
    errors.install(app)
    for module in (generate, jobs, models, health):
        app.include_router(module.router)
    return app


def _lifespan(settings: Settings) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        Image.MAX_IMAGE_PIXELS = settings.max_image_pixels
        give_back_large_blocks()
        celery = create_celery(settings)
        async with Redis.from_url(settings.jobs_url.get_secret_value(), decode_responses=True) as redis:
            store = ApiStore(redis, settings)
            finished = FinishedJobs(store)
            app.state.service = Service(settings, store, celery, finished)
            tasks = [asyncio.create_task(finished.listen()), asyncio.create_task(reap(store, celery))]
            try:
                yield
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
                celery.close()

    return lifespan
