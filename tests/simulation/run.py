"""Running seeds, one or many, and telling how to replay one that fails."""

import os
import tempfile
import traceback
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

from tests.simulation.world import World, make_template, seeded_identities

RAM_DISK = Path("/dev/shm")
_CHUNK = 25
TRACE_LINES = 60


class Failure(NamedTuple):
    """A seed that showed something wrong."""

    seed: int
    reason: str
    trace: list[str]
    where: str = ""

    def __str__(self) -> str:
        return "\n".join([
            f"seed {self.seed}: {self.reason}",
            "the last of what happened:",
            *(f"  {line}" for line in self.trace[-TRACE_LINES:]),
            self.where,
            f"replay it with: python -m tests.simulation --seed {self.seed}",
        ])  # fmt: skip


class Result(NamedTuple):
    """What a seed came to."""

    trace: list[str]
    failure: Failure | None


def ram_folder() -> "tempfile.TemporaryDirectory[str]":
    """Return a folder for files that need not last, in RAM where that can be had."""
    is_usable = RAM_DISK.is_dir() and os.access(RAM_DISK, os.W_OK)
    return tempfile.TemporaryDirectory(prefix="simulation-", dir=RAM_DISK if is_usable else None)


def run_seed(seed: int, template: Path) -> Result:
    """Run one seed; the same seed gives the same trace."""
    with ram_folder() as folder, seeded_identities(seed):
        world = World(seed, Path(folder), template)
        try:
            world.run()
        except Exception as error:  # noqa: BLE001 - whatever fails, its seed is told
            reason = f"{type(error).__name__}: {error}"
            failure = Failure(seed, reason, world.trace, traceback.format_exc(limit=-6))
            return Result(world.trace, failure)
        finally:
            world.close()
    return Result(world.trace, None)


def run_seeds(seeds: Iterable[int]) -> list[Failure]:
    """Run seeds one after another and return those that fail."""
    with ram_folder() as folder:
        template = make_template(Path(folder) / "template.db")
        results = (run_seed(seed, template) for seed in seeds)
        return [result.failure for result in results if result.failure is not None]


def first_failure(seeds: Iterable[int]) -> Failure | None:
    """Run seeds until one fails and return that."""
    with ram_folder() as folder:
        template = make_template(Path(folder) / "template.db")
        results = (run_seed(seed, template) for seed in seeds)
        return next((result.failure for result in results if result.failure is not None), None)


def run_many(seeds: range, *, jobs: int | None = None) -> list[Failure]:
    """Run seeds in several processes and return those that fail."""
    parts = [seeds[at : at + _CHUNK] for at in range(0, len(seeds), _CHUNK)]
    with ProcessPoolExecutor(jobs or os.cpu_count(), mp_context=get_context("spawn")) as pool:
        return [failure for found in pool.map(run_seeds, parts) for failure in found]
