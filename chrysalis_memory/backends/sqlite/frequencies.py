"""How many memories hold a word, remembered between searches.

FTS5 counts by reading all that it knows of a word: 0.8 ms for one that 40,000 memories hold. The
words of queries come again and again, so their counts are kept, as the reader's own snapshot has
them: new memories are counted in, and when a text was changed or forgotten all is counted anew.
"""

import threading
from collections.abc import Callable, Iterable
from typing import NamedTuple

_TOKENS_MAX = 10_000
# Counting in more new memories than this costs as much as counting anew.
_ADDED_MAX = 1000


class Statistics(NamedTuple):
    """What a snapshot says of all memories' words."""

    memories: int
    """How many living memories there are."""
    tokens: int
    """How many tokens they have together."""
    rewritten: int
    """How often a text was changed, forgotten or revived; it only grows."""
    last: int
    """The greatest number of a memory with words; it grows with every other new text."""


class FrequencyCache:
    """Document frequencies, shared by the reading connections of a store."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seen = Statistics(0, 0, 0, 0)
        self._counts: dict[str, int] = {}

    def look_up(
        self,
        tokens: Iterable[str],
        statistics: Statistics,
        count: Callable[[str], int],
        added: Callable[[int, int], list[str]],
    ) -> dict[str, int]:
        """Return how many memories hold each token.

        Args:
            tokens: Which tokens.
            statistics: Those of the reader's snapshot.
            count: Counts a token in the reader's snapshot.
            added: Returns at most so many memories' joined tokens, of those behind a number.
        """
        with self._lock:
            if not self._follow(statistics, added):
                return {token: count(token) for token in tokens}
            for token in tokens:
                if token not in self._counts:
                    self._counts[token] = count(token)
            found = {token: self._counts[token] for token in tokens}
            if len(self._counts) > _TOKENS_MAX:
                self._counts.clear()
            return found

    def _follow(self, now: Statistics, added: Callable[[int, int], list[str]]) -> bool:
        """Bring the counts up to a snapshot; tell whether they hold for it."""
        if (now.rewritten, now.last) < (self._seen.rewritten, self._seen.last):
            return False  # an earlier snapshot than what is held
        if now.rewritten != self._seen.rewritten:
            self._counts.clear()
        elif now.last != self._seen.last and self._counts:
            new = added(self._seen.last, _ADDED_MAX)
            if len(new) == _ADDED_MAX:
                self._counts.clear()
            for tokens in new if self._counts else ():
                for token in set(tokens.split()):
                    if token in self._counts:
                        self._counts[token] += 1
        self._seen = now
        return True
