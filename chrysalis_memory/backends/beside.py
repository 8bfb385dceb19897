"""Who stands beside whom in an episode, from what an engine has read of it.

A turn is a memory's number, doubled, plus one if the memory holds a question mark.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from chrysalis_memory.backends.base import Neighbours

BEFORE_COUNT = 3
AFTER_COUNT = 2
_NOBODY = 0


class Run(NamedTuple):
    """A memory and those around it in its episode."""

    turn: int
    is_kept: bool
    """Whether the memory is not passed over."""
    before: Sequence[int]
    """The turns of up to :data:`BEFORE_COUNT` memories before it, in order."""
    after: Sequence[int]
    """The turns of up to :data:`AFTER_COUNT` memories after it, in order."""


def neighbours_of(runs: Iterable[Run]) -> dict[int, Neighbours]:
    """Return the neighbours of the memories of some runs, and of those next to them."""
    found: dict[int, Neighbours] = {}
    for one in runs:
        first = [*[_NOBODY] * (BEFORE_COUNT - len(one.before)), *one.before]
        last = [*one.after, *[_NOBODY] * (AFTER_COUNT - len(one.after))]
        run = [*first, one.turn, *last]
        found[one.turn // 2] = _placed(run, 3)
        # Those beside a memory that is passed over do not see it.
        seen, beside = (run, (2, 4)) if one.is_kept else ([*first, *last], (2, 3))
        found |= {seen[at] // 2: _placed(seen, at) for at in beside if seen[at]}
    return found


def _placed(run: Sequence[int], at: int) -> Neighbours:
    before, after = run[at - 1], run[at + 1]
    asks = run[at] % 2 == 1 and after != _NOBODY
    return Neighbours(
        before // 2 or None, after // 2 or None, run[at - 2] // 2 or None, asks, before % 2 == 1
    )
