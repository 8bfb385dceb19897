"""Killing writers, in short; and that the harness would see a write that was lost or torn."""

from pathlib import Path

import pytest

from chrysalis_memory import MemoryDocument, MemoryStorage
from tests.faults import kill
from tests.faults.ledger import Content, Ledger, content_of
from tests.faults.runs import Run


@pytest.mark.parametrize("run", kill.RUNS, ids=lambda run: run.name)
def test_no_acknowledged_write_is_lost_when_writers_are_killed(run: Run, tmp_path: Path) -> None:
    assert run.play(run.short, 1, tmp_path).endswith("0 lost")


def test_a_writer_that_acknowledges_before_it_commits_is_found_out(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match=r"seed [0-9]+: lost of what was"):
        kill.playing(1, lies_at=0)(20, 1, tmp_path)


def told(*documents: MemoryDocument) -> list[bytes]:
    return [document.to_bytes() for document in documents]


def content(*documents: MemoryDocument) -> Content:
    return {document.id: document.state for document in documents}


@pytest.fixture
def one() -> MemoryDocument:
    return MemoryDocument("one", "first text", source_instance="a")


@pytest.fixture
def two() -> MemoryDocument:
    return MemoryDocument("two", "second text", source_instance="a")


def test_what_was_in_flight_may_be_there_or_not(one: MemoryDocument, two: MemoryDocument) -> None:
    for found in (content(one), content(one, two)):
        ledger = Ledger()
        ledger.join(told(one))
        ledger.settle(found, [[told(two)]])
        assert found == ledger.content


def test_half_of_what_was_in_flight_is_found_out(one: MemoryDocument, two: MemoryDocument) -> None:
    with pytest.raises(AssertionError, match="more than was done: 1 memories"):
        Ledger().settle(content(one), [[told(one, two)]])


def test_what_follows_a_write_that_is_not_there_is_found_out(
    one: MemoryDocument, two: MemoryDocument
) -> None:
    with pytest.raises(AssertionError, match="more than was done: 1 memories"):
        Ledger().settle(content(two), [[told(one), told(two)]])


def test_an_old_state_of_a_memory_is_found_out(one: MemoryDocument) -> None:
    ledger, old = Ledger(), content(one)
    one.add_tag("new")
    ledger.join(told(one))
    with pytest.raises(AssertionError, match="lost of what was acknowledged: 1 memories"):
        ledger.settle(old, [])


def test_a_ledger_holds_what_a_store_does(tmp_path: Path, one: MemoryDocument) -> None:
    ledger = Ledger()
    with MemoryStorage(tmp_path / "memory.db", "a") as storage:
        storage.put(one)
        ledger.join(told(one))
        storage.forget("one")
        one.forget()
        ledger.join(told(one))
        assert content_of(storage) == ledger.content
