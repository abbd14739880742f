"""Work that the API does beside its requests, and how it ends."""

import asyncio
from collections.abc import Collection

AGAIN_SECONDS = 1.0
"""After so long a task is told again to end."""


async def end(tasks: Collection["asyncio.Task[None]"]) -> None:
    """Cancel tasks and wait until they have ended; what they raise is dropped.

    A cancellation that arrives in the moment in which a wait is over can be lost in it (`asyncio.wait_for` before
    Python 3.12, and libraries that do likewise). The task would go on, and the process never end: so it is said again.

    Args:
        tasks: running or done.
    """
    pending = {task for task in tasks if not task.done()}
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=AGAIN_SECONDS)
    await asyncio.gather(*tasks, return_exceptions=True)
