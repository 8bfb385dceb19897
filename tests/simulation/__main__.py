"""Simulate replicas by seeds: ``python -m tests.simulation --seed 123`` replays one.

Without ``--seed``, runs ``--seeds`` of them from ``--first`` on, in as many processes as there are
processors.
"""

import argparse
import sys
import time
from pathlib import Path

from tests.simulation.run import make_template, ram_folder, run_many, run_seed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, help="replay one seed and print all that happens")
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seeds", type=int, default=1000)
    parser.add_argument("--jobs", type=int)
    given = parser.parse_args()
    if given.seed is not None:
        with ram_folder() as folder:
            result = run_seed(given.seed, make_template(Path(folder) / "template.db"))
        print(*result.trace, sep="\n")
        print(result.failure or f"seed {given.seed}: all is as it must be")
        return result.failure is not None
    begun = time.perf_counter()
    failures = run_many(range(given.first, given.first + given.seeds), jobs=given.jobs)
    seconds = time.perf_counter() - begun
    print(*failures[:3], sep="\n\n")
    print(
        f"{given.seeds:,} seeds in {seconds:.1f} s, {seconds / given.seeds * 1000:.1f} ms each; "
        f"{len(failures)} failed: {[failure.seed for failure in failures[:20]]}"
    )
    return bool(failures)


if __name__ == "__main__":
    sys.exit(main())
