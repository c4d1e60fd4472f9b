"""Background work of the workbench."""

from __future__ import annotations

import asyncio
import gc
import warnings

from sekft_tui.process.workers import Later


def test_work_that_is_left_before_it_begins_is_no_coroutine_that_nobody_awaits() -> None:
    done: list[str] = []

    async def work() -> None:
        done.append("done")

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Later(work)
        gc.collect()
    assert done == []

    async def begin() -> None:
        await Later(work)

    asyncio.run(begin())
    assert done == ["done"]
