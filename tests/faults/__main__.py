"""Play faults in full: ``python -m tests.faults``, or some: ``python -m tests.faults kill cancel``.

``--list`` names them; ``--short`` plays as many rounds as ``make test`` does; ``--seed`` and
``--rounds`` replay what failed.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

from tests.faults.runs import Run, every_run


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="the beginnings of names; default: all")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    runs = [
        run for run in every_run() if not given.names or run.name.startswith(tuple(given.names))
    ]
    if not runs:
        parser.error(f"no fault has such a name; --list names them: {given.names}")
    if given.list:
        print(*(f"{run.name:32} {run.short:>8,} {run.long:>10,}" for run in runs), sep="\n")
        return 0
    failed = [run.name for run in runs if not _played(run, given)]
    print(f"{len(runs)} kinds of faults, {len(failed)} failed" + "".join(f"; {n}" for n in failed))
    return bool(failed)


def _played(run: Run, given: argparse.Namespace) -> bool:
    rounds = given.rounds or (run.short if given.short else run.long)
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="chrysalis-faults-") as folder:
        try:
            told, passed = run.play(rounds, given.seed, Path(folder)), True
        except AssertionError as error:
            told, passed = f"FAILED {error}", False
    seconds = time.perf_counter() - begun
    print(f"{run.name}: {rounds:,} rounds in {seconds:.0f} s: {told}", flush=True)
    return passed


if __name__ == "__main__":
    sys.exit(main())
