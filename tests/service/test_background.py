"""What runs beside the API's requests ends when it is told to, even if a library loses the first word."""

import asyncio
from contextlib import suppress

import pytest

from vdmini_serve.api import background


@pytest.fixture(autouse=True)
def soon_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "AGAIN_SECONDS", 0.05)


def test_tasks_that_lose_a_cancellation_are_told_again() -> None:
    lost: list[str] = []

    async def loses_one() -> None:
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(60)
        lost.append("one")
        await asyncio.sleep(60)

    async def run() -> list[bool]:
        tasks = [asyncio.create_task(loses_one()), asyncio.create_task(asyncio.sleep(60))]
        await asyncio.sleep(0)
        await asyncio.wait_for(background.end(tasks), 10)
        return [task.cancelled() for task in tasks]

    assert asyncio.run(run()) == [True, True]
    assert lost == ["one"]


def test_what_ended_or_failed_before_is_no_reason_to_wait() -> None:
    async def fails() -> None:
        raise ValueError("gone")

    async def run() -> bool:
        task = asyncio.create_task(fails())
        await asyncio.sleep(0.01)
        await asyncio.wait_for(background.end([task]), 10)
        return task.done()

    assert asyncio.run(run())
    asyncio.run(background.end([]))
