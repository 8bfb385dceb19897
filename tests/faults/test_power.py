"""Power cuts, in short; and that the harness would see a loss."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import apsw
import pytest

from chrysalis_memory import AgentMemory
from chrysalis_memory.backends.sqlite.session import SQLiteSession
from tests.faults import power
from tests.faults.disk import Note, watched
from tests.faults.runs import Run


@pytest.mark.parametrize("run", power.RUNS, ids=lambda run: run.name)
def test_a_power_cut_leaves_what_is_promised(run: Run, tmp_path: Path) -> None:
    assert "disks" in run.play(run.short, 0, tmp_path)


async def test_a_memory_syncs_every_write_unless_told_otherwise(tmp_path: Path) -> None:
    with watched() as vfs:
        async with AgentMemory("ada", path=tmp_path / "memory.db", embedder="hashing") as memory:
            for number in range(3):
                vfs.notes.clear()
                await memory.learn(f"memory {number}")
                kinds = [note.kind for note in vfs.notes]
                assert "write" in kinds
                assert "sync" == kinds[-1]


def test_a_sync_asks_the_disk_to_empty_its_cache(recording: power.Recording) -> None:
    kinds = {n.offset & ~apsw.SQLITE_SYNC_DATAONLY for n in recording.notes if n.kind == "sync"}
    assert {apsw.SQLITE_SYNC_FULL} == kinds


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> power.Recording:
    return power.record(0, tmp_path_factory.mktemp("recorded"), "FULL")


def failures(recording: power.Recording, folder: Path) -> int:
    """Return how many of 50 disks show a loss."""
    failed = 0
    for number in range(50):
        moment = power.moment_of(recording, number)
        cut = power.cut_at(recording, moment, number)
        try:
            power.check(cut, recording.contents, folder / f"{number}", keeps_all=True)
        except AssertionError:
            failed += 1
    return failed


def without(kind: str, notes: list[Note]) -> list[Note]:
    return [note for note in notes if note.kind != kind]


def without_folder_above(notes: list[Note]) -> list[Note]:
    """Leave out that the name of the memory's own folder was synced."""
    first = next(Path(note.name).parent for note in notes if note.kind == "create" and note.file)
    return [note for note in notes if note != Note("sync folder", str(first.parent))]


def acknowledged_early(notes: list[Note]) -> list[Note]:
    """Move each acknowledgement before the write that it is for."""
    early = {"begun": "done", "done": "begun"}
    return [note._replace(kind=early.get(note.kind, note.kind)) for note in notes]


@pytest.mark.parametrize(
    "plant",
    [
        partial(without, "sync folder"),
        without_folder_above,
        partial(without, "sync"),
        acknowledged_early,
    ],
    ids=["folders", "the folder above", "files", "an acknowledgement before the write"],
)
def test_a_planted_fault_is_found_out(
    recording: power.Recording,
    plant: Callable[[list[Note]], list[Note]],
    tmp_path: Path,
) -> None:
    assert 0 == failures(recording, tmp_path / "as it is")
    assert 0 < failures(recording._replace(notes=plant(recording.notes)), tmp_path / "planted")


def test_an_index_that_is_written_after_its_document_is_found_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = SQLiteSession.write_collected

    def write_apart(session: SQLiteSession) -> None:
        session.connection.execute("COMMIT")
        session.connection.execute("BEGIN IMMEDIATE")
        write(session)

    monkeypatch.setattr(SQLiteSession, "write_collected", write_apart)
    with pytest.raises(AssertionError, match=r"seed [0-9]+: [0-9]+ problems"):
        power.play("FULL", 50, 0, tmp_path)
