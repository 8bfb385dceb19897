"""Wrong input is refused by name, changes nothing, and takes little memory."""

import random
from pathlib import Path

import pytest

from chrysalis_memory import AgentMemory
from tests.faults import fuzz
from tests.faults.runs import Run


@pytest.mark.parametrize("run", fuzz.RUNS, ids=lambda run: run.name)
def test_wrong_input_is_refused_by_name_and_changes_nothing(run: Run, tmp_path: Path):
    assert "refused" in run.play(run.short, 0, tmp_path)


async def crash(memory: AgentMemory, _: random.Random, __: Path) -> object:
    raise KeyError("nobody expects this")


async def change_and_refuse(memory: AgentMemory, _: random.Random, __: Path) -> object:
    await memory.learn("written all the same", unique=True)
    return await memory.learn("")


async def swell(memory: AgentMemory, _: random.Random, __: Path) -> object:
    return len(b"x" * fuzz.MEMORY_BYTES_MAX * 2) and False


@pytest.mark.parametrize(
    ("give", "says"),
    [(crash, "nobody expects"), (change_and_refuse, "changed the file"), (swell, "MB of memory")],
)
async def test_the_harness_sees_a_crash_a_change_and_a_bomb(give, says: str, tmp_path: Path):
    with pytest.raises(AssertionError, match=says):
        await fuzz.give_all(give, 1, 0, tmp_path)
