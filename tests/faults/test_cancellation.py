"""A call that is cancelled has done all of its work or nothing, and leaves nothing behind."""

from pathlib import Path
from typing import Any

import pytest

from chrysalis_memory import AgentMemory, syncing
from tests.faults import cancellation
from tests.faults.cancellation import RUNS


def test_calls_cancelled_at_any_moment_did_all_or_nothing_and_leave_nothing(
    tmp_path: Path,
) -> None:
    (run,) = RUNS
    told = run.play(run.short, 0, tmp_path)
    assert told.startswith("0 lost, 0 half done, 0 stuck; ")
    for kind in set(cancellation._KINDS):
        assert f"{kind} cancelled" in told


def test_a_call_that_can_be_left_half_done_is_found_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    learn_many = AgentMemory.learn_many

    async def one_by_one(self: Any, memories: Any, **options: Any) -> list[str]:
        return [(await learn_many(self, [one], **options))[0] for one in memories]

    monkeypatch.setattr(AgentMemory, "learn_many", one_by_one)
    (run,) = RUNS
    with pytest.raises(AssertionError, match=r"seed \d+, .* a learn_many .* is half done"):
        run.play(4 * run.short, 0, tmp_path)  # it ends with the first that is found


def test_a_connection_that_is_left_open_is_found_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[Any] = []

    async def keep_open(in_thread: Any, open_one: Any, _: Any) -> Any:
        opened.append(await in_thread(open_one))
        opened[-1].close = in_thread.__self__.settle  # any coroutine that closes nothing
        return opened[-1]

    monkeypatch.setattr(syncing, "open_in_thread", keep_open)
    monkeypatch.setattr(cancellation, "STUCK_SECONDS", 2.0)
    (run,) = RUNS
    try:
        with pytest.raises(AssertionError, match=r"seed \d+, .* the thread .*peer.db' is stuck"):
            run.play(run.short, 0, tmp_path)
    finally:
        for transport in opened:
            transport._storage.close()
