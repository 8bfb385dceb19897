"""Writers that are killed with SIGKILL: nothing acknowledged is lost, and nothing is half there."""

import random
from collections.abc import Callable
from functools import partial
from pathlib import Path

from chrysalis_memory import MemoryStorage
from tests.faults.audit import audit
from tests.faults.ledger import Ledger, content_of
from tests.faults.runs import Run
from tests.faults.writers import Writers
from tests.simulation.run import ram_folder

_ROUNDS_OF_A_FILE = 10
"""A file is killed over and over, so that what a recovery leaves meets the next kill too."""


def play(count: int, rounds: int, seed: int, folder: Path, *, lies_at: int = -1) -> str:
    """Kill ``count`` writers in every round."""
    acknowledged = open_ones = 0
    # A kill leaves what was written to RAM as it leaves what was written to a disk, and without
    # waiting for a disk more of the rounds are cut in the midst of work.
    with ram_folder() as ram, Writers(folder) as writers:
        for number in range(seed, seed + rounds):
            if (number - seed) % _ROUNDS_OF_A_FILE == 0:
                ledger, path = Ledger(), Path(ram) / f"{number}.db"
            try:
                done, begun = _round(writers, count, number, path, ledger, lies_at)
            except AssertionError as error:
                raise AssertionError(f"seed {number}: {error}") from error
            acknowledged += done
            open_ones += begun
    return f"{acknowledged:,} acknowledged, {open_ones:,} in flight when killed, 0 lost"


def _round(
    writers: Writers, count: int, seed: int, path: Path, ledger: Ledger, lies_at: int
) -> tuple[int, int]:
    chance = random.Random(seed)
    started = [writers.start(path, seed, f"w{i}", lies_at=lies_at) for i in range(count)]
    _cut(writers, chance)
    first = chance.sample(started, chance.randint(1, count))
    writers.kill(first)
    rest = [writer for writer in started if writer not in first]
    if rest:  # those that go on meet what the dead have left
        _cut(writers, chance)
        writers.kill(rest)
    for writer in started:
        for told in writer.acknowledged:
            ledger.join(told)
    with MemoryStorage(path, "after") as storage:
        ledger.settle(content_of(storage), [list(writer.in_flight) for writer in started])
        audit(storage)
    return (
        sum(len(writer.acknowledged) for writer in started),
        sum(len(writer.in_flight) for writer in started),
    )


def _cut(writers: Writers, chance: random.Random) -> None:
    """Let writers go on until a random moment: while they open the file, or at an operation."""
    if chance.random() < 0.2:
        writers.follow(seconds=0.05 * chance.random())
    else:
        writers.follow(operations=chance.randrange(1, 60), seconds=0.004 * chance.random())


def playing(count: int, *, lies_at: int = -1) -> Callable[[int, int, Path], str]:
    """Return a play with so many writers."""
    return partial(play, count, lies_at=lies_at)


RUNS = (
    Run("kill: one writer", 50, 2_000, playing(1)),
    Run("kill: four writers", 10, 500, playing(4)),
)
