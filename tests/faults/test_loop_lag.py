"""The event loop goes on while an agent recalls and learns."""

import time
from pathlib import Path
from typing import Any

import pytest

from chrysalis_memory.learner import Learner
from tests.faults.loop_lag import RUNS


def test_the_loop_is_hardly_kept_by_recalls_and_writes(tmp_path: Path) -> None:
    (run,) = RUNS
    assert "busy p50 " in run.play(run.short, 0, tmp_path)


def test_a_call_that_keeps_the_loop_is_found_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    embed_and_store = Learner._embed_and_store

    async def slowly(self: Any, batch: Any) -> Any:
        end = time.perf_counter() + 0.1
        while time.perf_counter() < end:
            pass
        return await embed_and_store(self, batch)

    monkeypatch.setattr("tests.faults.loop_lag.MEMORIES", 1_000)
    monkeypatch.setattr(Learner, "_embed_and_store", slowly)
    (run,) = RUNS
    with pytest.raises(AssertionError, match=r"seed 0: idle .* busy .*"):
        run.play(1, 0, tmp_path)
