"""What a filter lets through, remembered between searches.

Looking at every memory costs far more than a search, and the same filters (an agent's namespace, a
project's tag) are asked again and again. A filter that leaves out most is answered for all memories
when it is asked a second time; from then on only memories that changed since are looked at. Like
the codes, the answer is the one of the reader's own snapshot.
"""

import threading
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from chrysalis_memory.backends.sqlite.codes import Numbers
from chrysalis_memory.backends.sqlite.database import Database, number_array
from chrysalis_memory.backends.sqlite.filters import Where
from chrysalis_memory.query import Query

REMEMBERED_BYTES_MAX = 32 << 20
_FILTERS_MAX = 64
# With more changes than this share of the answer, asking anew costs no more.
_FOLLOWED_MAX = 10_000

Key = tuple[str, tuple[object, ...]]


class _Answer(NamedTuple):
    change: int
    """The greatest change of any memory when it was given."""
    numbers: Numbers | None
    """Ascending; ``None`` for a filter that was not asked of all memories yet."""


class AnswerCache:
    """The latest answers of a store's filters, shared by its reading connections."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._answers: dict[Key, _Answer] = {}

    def get(self, key: Key) -> _Answer | None:
        """Return the latest answer."""
        return self._answers.get(key)

    def keep(self, key: Key, answer: _Answer) -> None:
        """Keep an answer, and give up those asked longest ago if there are too many."""
        with self._lock:
            known = self._answers.pop(key, None)
            if known is not None and known.numbers is not None and known.change > answer.change:
                answer = known  # another thread's snapshot is later
            self._answers[key] = answer
            while len(self._answers) > _FILTERS_MAX or self._bytes() > REMEMBERED_BYTES_MAX:
                self._answers.pop(next(iter(self._answers)))

    def _bytes(self) -> int:
        kept = (answer.numbers for answer in self._answers.values())
        return sum(numbers.nbytes for numbers in kept if numbers is not None)


class Condition:
    """What memories must match, asked on one connection.

    Args:
        connection: The connection.
        query: The filter and the moment.
        cache: Where answers are kept; without it nothing is remembered.
    """

    def __init__(self, connection: Database, query: Query, cache: AnswerCache | None) -> None:
        self._connection = connection
        self._query = query
        self._cache = cache
        self.where = Where(query)
        # What expires, expires with time and not with a change, so it is left out of the answer.
        unending = query.filter.model_copy(update={"include_expired": True})
        lasting = Where(query._replace(filter=unending), leading=True)
        self._lasting = lasting.sql, tuple(lasting.parameters)

    def among(self, numbers: Numbers) -> Numbers:
        """Return those of the numbers whose memories match."""
        return self._select(self.where.sql, numbers, self.where.parameters)

    def passing(self, numbers: Numbers) -> Numbers:
        """Do as :meth:`among`, from what is remembered if the filter is."""
        allowed = self.remembered()
        return self.among(numbers) if allowed is None else intersection(allowed, numbers)

    def remembered(self) -> Numbers | None:
        """Return all that match if the filter is worth remembering; ``None`` otherwise."""
        if self._cache is None or self._cache.get(self._lasting) is None:
            return None
        return self.all()

    def remember(self) -> None:
        """Answer the filter for all memories when it is asked again: few of the best passed."""
        if self._cache is not None and self._cache.get(self._lasting) is None:
            self._cache.keep(self._lasting, _Answer(0, None))

    def all(self) -> Numbers:
        """Return the numbers of all memories that match, ascending."""
        numbers = self._all_lasting()
        if self._query.filter.include_expired:
            return numbers
        expired = self._select(
            "m.expires_at IS NOT NULL AND m.expires_at <= ?", None, [self._query.now_us]
        )
        return np.setdiff1d(numbers, expired, assume_unique=True) if len(expired) else numbers

    def _all_lasting(self) -> Numbers:
        change: int = self._connection.execute("SELECT coalesce(max(change), 0) FROM memory").get
        known = None if self._cache is None else self._cache.get(self._lasting)
        numbers: Numbers | None = None
        if known is not None and known.numbers is not None:
            if known.change == change:
                return known.numbers
            if known.change < change:
                numbers = self._followed(known.numbers, known.change)
        if numbers is None:
            numbers = np.sort(self._select(self._lasting[0], None, self._lasting[1]))
        if self._cache is not None:
            self._cache.keep(self._lasting, _Answer(change, numbers))
        return numbers

    def _followed(self, numbers: Numbers, change: int) -> Numbers | None:
        """Bring an earlier answer up to this snapshot; ``None`` if too much has changed."""
        changed = self._select("m.change > ? LIMIT ?", None, [change, _FOLLOWED_MAX])
        if len(changed) == _FOLLOWED_MAX:
            return None
        passing = self._select(self._lasting[0], changed, self._lasting[1])
        at = np.searchsorted(numbers, changed)
        at, changed = at[at < len(numbers)], changed[at < len(numbers)]
        kept = np.delete(numbers, at[numbers[at] == changed])
        return np.sort(np.concatenate([kept, passing]))

    def _select(self, sql: str, numbers: Numbers | None, parameters: Iterable[object]) -> Numbers:
        if numbers is not None and not len(numbers):
            return numbers
        source, bound = "memory m", []
        if numbers is not None:
            source = "carray(?) AS c CROSS JOIN memory m ON m.number = c.value"
            bound = [number_array(numbers)]
        rows = self._connection.execute(
            f"SELECT m.number FROM {source} WHERE {sql}", (*bound, *parameters)
        ).fetchall()
        return np.fromiter((number for (number,) in rows), np.int64, len(rows))


def intersection(allowed: Numbers, numbers: Numbers) -> Numbers:
    """Return those of ``numbers`` that are in ``allowed``, which is ascending."""
    if not len(allowed):
        return allowed
    at = np.minimum(np.searchsorted(allowed, numbers), len(allowed) - 1)
    return numbers[allowed[at] == numbers]
