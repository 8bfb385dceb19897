"""What every kind of fault has: a name, a short and a long number of rounds, and a way to run them.

A module of this folder offers its kinds as ``RUNS``; ``python -m tests.faults`` finds them all.
"""

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple


class Run(NamedTuple):
    """One kind of fault."""

    name: str
    short: int
    """Rounds in ``make test``."""
    long: int
    """Rounds in ``make faults``."""
    play: Callable[[int, int, Path], str]
    """Plays so many rounds from a seed in an empty folder, and says what was seen.

    Raises an ``AssertionError`` that names the seed of the round where a promise was broken.
    """


def every_run() -> list[Run]:
    """Return the kinds of all modules in this folder, by name."""
    folder = Path(__file__).parent
    names = sorted(path.stem for path in folder.glob("*.py") if not path.stem.startswith("test_"))
    modules = [
        importlib.import_module(f"tests.faults.{name}") for name in names if name != "__main__"
    ]
    found = [run for module in modules for run in getattr(module, "RUNS", ())]
    return sorted(found, key=lambda run: run.name)
