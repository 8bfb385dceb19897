"""Whatever fails while a store works, it has done it or not, and goes on."""

import resource
from pathlib import Path
from typing import Any

import pytest

from chrysalis_memory import MemoryDocument, MemoryStorage
from tests.faults.failing_disk import failing_disk
from tests.faults.injection import RUNS, Rounds
from tests.faults.injectors import INJECTORS, Kind
from tests.faults.operations import Operation, learn_text
from tests.faults.runs import Run


@pytest.mark.parametrize("run", RUNS, ids=lambda run: run.name)
def test_an_error_at_any_step_leaves_all_of_a_write_or_nothing(run: Run, tmp_path: Path) -> None:
    told = run.play(run.short, 0, tmp_path)
    assert told.startswith("0 half done; ")
    assert "StorageError" in told or "MemoryError" in told


def _commit_between(transaction: Any) -> None:
    learn_text("the first half", id="half")(transaction)
    transaction.session.write_collected()
    transaction.session.connection.execute("COMMIT; BEGIN IMMEDIATE")
    learn_text("the second half", id="whole")(transaction)


def _play_all(rounds: Rounds) -> None:
    for seed in range(0, 300, 3):  # those of writes alone
        rounds.play(seed)


@pytest.mark.parametrize("kind", INJECTORS)
def test_a_write_that_can_be_left_half_done_is_found_out(kind: Kind, tmp_path: Path) -> None:
    with failing_disk():
        rounds = Rounds(kind, tmp_path, (Operation("planted", _commit_between),))
        with pytest.raises(AssertionError, match=r"seed \d+: .* at step \d+ of \d+ of planted"):
            _play_all(rounds)


def test_a_disk_that_refuses_a_checkpoint_does_not_fail_the_write_before_it(
    tmp_path: Path,
) -> None:
    path = tmp_path / "memory.db"
    with MemoryStorage(path) as storage:
        storage.put_many(MemoryDocument(f"m{i}", f"text {i} {'x' * 3_000}") for i in range(30))
    unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
    size = path.stat().st_size
    with MemoryStorage(path) as storage:
        storage.run(lambda t: t.session.connection.pragma("wal_autocheckpoint", 1))
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, unlimited[1]))
        try:
            storage.put(MemoryDocument("new", "y" * 30_000))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
        assert path.stat().st_size == size
        assert storage.count() == 31
    with MemoryStorage(path) as storage:
        assert storage.count() == 31
    assert path.stat().st_size > size
