"""What a call held is let go when it ends, and does not wait until garbage is collected."""

import gc
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from chrysalis_memory import AgentMemory
from chrysalis_memory.errors import ChrysalisError
from chrysalis_memory.replication.messages import Want
from chrysalis_memory.replication.replica import Replica

Start = Callable[..., Awaitable[AgentMemory]]
Call = Callable[[AgentMemory, Path], Awaitable[Any]]


async def import_a_bad_line(memory: AgentMemory, folder: Path) -> None:
    (folder / "bad.jsonl").write_text('{"content": ')
    await memory.import_(folder / "bad.jsonl")


async def forget_a_bad_name(memory: AgentMemory, _: Path) -> None:
    await memory.forget("a\0b")


async def update_what_is_not_there(memory: AgentMemory, _: Path) -> None:
    await memory.update("nothing", content="tea")


async def answer_for_what_is_not_there(memory: AgentMemory, _: Path) -> None:
    Replica(memory.storage).answer(Want(["nothing"]))


async def write_inside_a_write(memory: AgentMemory, _: Path) -> None:
    memory.storage.run(lambda _: memory.storage.run(lambda _: None))


def garbage() -> list[Any]:
    """Return what is found only by collecting garbage."""
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        gc.collect()
        return list(gc.garbage)
    finally:
        gc.set_debug(0)
        gc.garbage.clear()


@pytest.mark.parametrize(
    "call",
    [
        import_a_bad_line,
        forget_a_bad_name,
        update_what_is_not_there,
        answer_for_what_is_not_there,
        write_inside_a_write,
    ],
)
async def test_a_call_that_fails_leaves_no_error_in_ram(
    start_agent: Start, tmp_path: Path, call: Call
) -> None:
    """An error holds the frames that it passed, and these the whole line of a file, say."""
    memory = await start_agent()
    with pytest.raises(ChrysalisError):  # what is imported late is there from now on
        await call(memory, tmp_path)
    garbage()
    gc.disable()
    try:
        with pytest.raises(ChrysalisError):
            await call(memory, tmp_path)
        assert [one for one in garbage() if isinstance(one, ChrysalisError)] == []
    finally:
        gc.enable()


async def test_a_write_that_is_done_leaves_no_future_in_ram(start_agent: Start) -> None:
    memory = await start_agent()
    await memory.learn("Tea is at four")
    garbage()
    gc.disable()
    try:
        await memory.learn("Supper is at eight")
        assert [one for one in garbage() if isinstance(one, Future)] == []
    finally:
        gc.enable()
