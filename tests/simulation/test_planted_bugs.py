"""The simulation finds what it is there to find: mistakes planted in the real code.

``pytest -rA tests/simulation/test_planted_bugs.py`` prints how many seeds each takes.
"""

from collections.abc import Callable

import pytest

from tests.simulation.bugs import BUGS, Bug
from tests.simulation.run import first_failure

SEEDS_MAX = 200


@pytest.mark.parametrize("bug", BUGS, ids=[bug.__name__ for bug in BUGS])
def test_a_planted_bug_is_caught(bug: Bug, record_property: Callable[[str, object], None]) -> None:
    with bug():
        failure = first_failure(range(SEEDS_MAX))
    assert failure is not None, f"{bug.__name__} goes unnoticed for {SEEDS_MAX} seeds"
    record_property("seeds", failure.seed + 1)
    print(f"caught within {failure.seed + 1} seeds: {failure.reason}")
    assert None is first_failure([failure.seed]), "the seed fails without the bug, too"
