"""Power cuts: what a store holds of what was acknowledged, on any disk that a cut may leave.

A real store works on real files while every step on them is noted (see ``disk.py``). From one such
recording many disks are drawn, each as a cut at another moment may leave it, and a store is opened
on each. The controls show that the harness would see a loss: with ``synchronous=OFF`` nothing is
synced, and a lying disk syncs nothing; most of their disks must show it.
"""

import random
import shutil
import threading
from collections.abc import Callable, Generator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

from chrysalis_memory import HybridLogicalClock, MemoryStorage, folders
from tests.faults.audit import audit
from tests.faults.disk import Disk, Note, Watched, watched
from tests.faults.ledger import Content, Ledger, Told, content_of
from tests.faults.runs import Run
from tests.faults.workload import Workload, set_on_writer
from tests.simulation.run import ram_folder

DISKS_OF_A_RECORDING = 100
GROUPS = 40
_START_US = 1_800_000_000_000_000

Level = Literal["FULL", "NORMAL", "OFF"]


class Recording(NamedTuple):
    """What was done to the files, and what the store held after each operation."""

    notes: list[Note]
    contents: list[Content]
    first: int = 0
    """How many notes lie before the first moment at which the power may fail."""


class Start(NamedTuple):
    """The files that a recording begins with, and what a store on them holds."""

    files: Mapping[str, bytes]
    content: Content


def recording_of(seed: int, folder: Path, level: Level) -> Recording:
    """Return the recording of a seed: every second begins on what a cut has left of the one before.

    So what SQLite does to recover is cut too.
    """
    if level == "OFF" or seed % 2 == 0:
        return record(seed, folder, level)
    before = record(seed - 1, folder / "before", level)
    cut = cut_at(before, moment_of(before, seed), seed)
    there = check(cut, before.contents, folder / "cut", keeps_all=False)
    return record(seed, folder, level, Start(cut.files, before.contents[there]))


def record(seed: int, folder: Path, level: Level, start: Start | None = None) -> Recording:
    """Work in a new folder, from a seed, and note what happens to the files.

    Two stores take turns on one file, are closed and opened now and then, and checkpoint often, so
    that the log starts anew many times.
    """
    start = start or Start({}, {})
    chance = random.Random(seed)
    path = folder / f"{seed}" / "memory.db"
    ledger = Ledger(start.content)
    contents = [dict(ledger.content)]
    workloads = [Workload(seed, name) for name in ("ann", "bob")]
    ticks = iter(range(_START_US * (1 + seed % 2), 3 * _START_US, 1_000))
    clock = HybridLogicalClock(lambda: next(ticks))

    def opened(name: str) -> MemoryStorage:
        level_asked = "FULL" if level == "OFF" else level
        storage = MemoryStorage(path, name, synchronous=level_asked, clock=clock)
        set_on_writer(storage, "wal_autocheckpoint", chance.choice((20, 60, 4_000)))
        set_on_writer(storage, "journal_size_limit", chance.choice((0, 100_000, 64 << 20)))
        if level == "OFF":
            set_on_writer(storage, "synchronous", "OFF")
        return storage

    with watched() as vfs:
        folders.make(path.parent)
        for name, data in start.files.items():
            vfs.adopt(path.parent / Path(name).name, data)
        first = len(vfs.notes) if start.files else 0
        stores = [opened("ann"), opened("bob")]
        for _ in range(GROUPS):
            which = chance.randrange(2)
            if chance.random() < 0.1:
                stores[which].close()
                if chance.random() < 0.5:  # the last to close takes the log away
                    stores[1 - which].close()
                    stores[1 - which] = opened(("bob", "ann")[which])
                stores[which] = opened(("ann", "bob")[which])
            _work(vfs, stores[which], workloads[which], ledger, contents)
        for storage in stores:
            storage.close()
    return Recording(vfs.notes, contents, first)


def _work(
    vfs: Watched,
    storage: MemoryStorage,
    workload: Workload,
    ledger: Ledger,
    contents: list[Content],
) -> None:
    group = workload.group()
    queued = threading.Event()

    def tell(told: Told) -> None:
        ledger.join(told)
        contents.append(dict(ledger.content))

    def first(work: Callable[..., None], *given: Any) -> None:
        queued.wait()  # until all wait, so that they share a commit whenever this is played
        work(*given)

    vfs.notes.append(Note("begun", offset=len(contents) - 1 + len(group)))
    works = [operation.told(tell) for operation in group]
    if len(works) == 1:
        storage.run(works[0])
    else:
        works[0] = partial(first, works[0])
        futures = [storage.submit(work) for work in works]
        queued.set()
        for future in futures:
            future.result()
    vfs.notes.append(Note("done", offset=len(contents) - 1))


class Cut(NamedTuple):
    """A disk after a power cut, and what was acknowledged and begun before."""

    files: dict[str, bytes]
    acknowledged: int
    begun: int


def cut_at(recording: Recording, moment: int, seed: int, *, keeps_syncs: bool = True) -> Cut:
    """Play a recording up to a moment, and cut the power."""
    disk, acknowledged, begun = Disk(keeps_syncs=keeps_syncs), 0, 0
    for note in recording.notes[:moment]:
        disk.play(note)
        if note.kind == "done":
            acknowledged = note.offset
        elif note.kind == "begun":
            begun = note.offset
    return Cut(disk.after_a_cut(random.Random(seed)), acknowledged, begun)


def check(cut: Cut, contents: list[Content], folder: Path, *, keeps_all: bool) -> int:
    """Open what a cut left, check it, and return how many operations are there.

    Args:
        cut: The disk.
        contents: What the store held after each operation.
        folder: A new folder for the disk's files.
        keeps_all: Whether everything acknowledged must be there, or a beginning of it suffices.

    Raises:
        AssertionError: something is lost, damaged, or there without what came before it.
    """
    folder.mkdir(parents=True)
    for name, data in cut.files.items():
        (folder / Path(name).name).write_bytes(data)
    try:
        # A copy in a new place takes a new replica id, which no state depends on.
        with MemoryStorage(folder / "memory.db", "after") as storage:
            found = content_of(storage)
            audit(storage)
    except AssertionError:
        raise
    except Exception as error:
        raise AssertionError(f"the store is damaged: {error!r}") from error
    least = cut.acknowledged if keeps_all else 0
    known = [number for number in range(cut.begun + 1) if contents[number] == found]
    assert known, "the store holds what it never held before"
    assert known[-1] >= least, f"{known[-1]} operations are there, {least} were acknowledged"
    return known[-1]


def play(level: Level, rounds: int, seed: int, folder: Path) -> str:
    """Check as many disks as there are rounds."""
    more = fewer = 0
    for number, recording, disk in _recordings(level, rounds, seed):
        try:
            cut = cut_at(recording, moment_of(recording, number), number)
            there = check(cut, recording.contents, disk, keeps_all=level == "FULL")
        except AssertionError as error:
            raise AssertionError(f"seed {number}: {error}") from error
        more += there > cut.acknowledged
        fewer += there < cut.acknowledged
    return (
        f"all whole; {fewer:,} disks hold less than was acknowledged, a clean beginning of it, "
        f"and {more:,} hold what was in flight too"
    )


def play_control(
    level: Level, rounds: int, seed: int, folder: Path, *, keeps_syncs: bool = True
) -> str:
    """Count the disks that show a loss or damage; it must be more than three in ten."""
    failed = 0
    for number, recording, disk in _recordings(level, rounds, seed):
        cut = cut_at(recording, moment_of(recording, number), number, keeps_syncs=keeps_syncs)
        try:
            check(cut, recording.contents, disk, keeps_all=True)
        except AssertionError:
            failed += 1
    assert failed > 0.3 * rounds, f"seed {seed}: only {failed} of {rounds} disks show a loss"
    return f"{failed} of {rounds} disks show a loss, as they must"


def _recordings(level: Level, rounds: int, seed: int) -> Generator[tuple[int, Recording, Path]]:
    """Iterate over rounds: their seeds, the recording of each, and a folder."""
    recording = Recording([], [])
    with ram_folder() as name:
        ram = Path(name)
        for number in range(seed, seed + rounds):
            if number == seed or number % DISKS_OF_A_RECORDING == 0:
                try:
                    recording = recording_of(
                        number // DISKS_OF_A_RECORDING, ram / "recorded", level
                    )
                except AssertionError as error:
                    raise AssertionError(f"seed {number}, while recording: {error}") from error
                shutil.rmtree(ram / "recorded")
            yield number, recording, ram / "disk"
            shutil.rmtree(ram / "disk")


def moment_of(recording: Recording, seed: int) -> int:
    """Return the moment of a cut."""
    return random.Random(seed).randint(recording.first, len(recording.notes))


RUNS = (
    Run("power: FULL", 500, 20_000, partial(play, "FULL")),
    Run("power: NORMAL", 200, 5_000, partial(play, "NORMAL")),
    Run("power: control, OFF", 100, 500, partial(play_control, "OFF")),
    Run("power: control, lying disk", 100, 500,
        partial(play_control, "FULL", keeps_syncs=False)),
)  # fmt: skip
