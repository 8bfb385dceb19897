"""Where memories come from: sources, patterns of their names, and how far each is trusted.

A memory's source is the name in its creation stamp; ``docs/trust.md`` says what that tells and what
it does not.
"""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, cast

from chrysalis_memory import wire
from chrysalis_memory.codec import shown
from chrysalis_memory.crdt.score_register import check_score
from chrysalis_memory.document import MemoryDocument
from chrysalis_memory.errors import InvalidValue

ANY_ENDING = "*"
MARK = "source:"
"""Begins the evidence that names a source which taught a memory."""
SOURCE_CHARACTERS_MAX = wire.NAME_CHARACTERS_MAX - len(MARK)
PATTERNS_MAX = 100
# Recall searches once for each factor, so that no source crowds out another.
FACTORS_MAX = 16


def check_source(value: object) -> str:
    """Return ``value`` if it can name a source: 1 to 505 characters, the last of them no ``*``.

    Raises:
        InvalidValue: it cannot.
    """
    source = wire.check_name(value, what="source")
    if len(source) > SOURCE_CHARACTERS_MAX:
        raise InvalidValue(
            f"source must have 1 to {SOURCE_CHARACTERS_MAX} characters, got {len(source)}: "
            f"{source[:40]!r}"
        )
    if source.endswith(ANY_ENDING):
        raise InvalidValue(
            f"source {source!r} ends in {ANY_ENDING!r}, which stands for any ending in a filter; "
            "name it otherwise"
        )
    return source


def covers(pattern: str, source: str) -> bool:
    """Tell whether a pattern is a source's name, or a prefix of it that ends in ``*``."""
    if pattern.endswith(ANY_ENDING):
        return source.startswith(pattern[:-1])
    return source == pattern


def any_covers(patterns: Iterable[str], source: str) -> bool:
    """Tell whether one of the patterns covers a source."""
    return any(covers(pattern, source) for pattern in patterns)


def mark(source: str) -> str:
    """Return the evidence that says that a source taught a memory."""
    return MARK + source


def is_marked(memory: MemoryDocument) -> bool:
    """Tell whether a source was named when a memory was taught."""
    return any(one.startswith(MARK) for one in memory.state.evidence)


def sources_of(memory: MemoryDocument) -> tuple[str, ...]:
    """Return who taught a memory as far as it tells: its source first, then the others by name."""
    own = memory.source_instance
    marked = {one.removeprefix(MARK) for one in memory.get_evidence() if one.startswith(MARK)}
    return (own, *sorted(marked - {own, ""}))


def writers_of(memory: MemoryDocument) -> tuple[str, ...]:
    """Return by name who has written anything of a memory, as far as it is known."""
    return tuple(sorted(memory.get_vector_clock()))


class Among(NamedTuple):
    """Some sources: the first pattern that covers a source tells whether it is one of them."""

    patterns: tuple[tuple[str, bool], ...]
    others: bool
    """Whether those are that no pattern covers."""


class Trust(NamedTuple):
    """How far sources are trusted: patterns with factors from 0 to 1, the most telling first."""

    patterns: tuple[tuple[str, float], ...] = ()

    @classmethod
    def of(cls, factors: object) -> "Trust":
        """Return the trust that maps patterns to factors; sources that none covers have 1.

        Raises:
            InvalidValue: no mapping, a name or a factor that is refused, or too many of them.
        """
        if not isinstance(factors, Mapping):
            raise InvalidValue(f"trust maps sources to factors from 0 to 1, got {shown(factors)}")
        given = cast("Mapping[Any, Any]", factors)
        checked = {
            wire.check_name(pattern, what="source"): check_score(factor, what="trust")
            for pattern, factor in given.items()
        }
        if len(checked) > PATTERNS_MAX or len(set(checked.values())) > FACTORS_MAX:
            raise InvalidValue(
                f"trust names at most {PATTERNS_MAX} sources with {FACTORS_MAX} different factors, "
                f"got {len(checked)} with {len(set(checked.values()))}"
            )
        if all(factor == 1 for factor in checked.values()):
            return cls()
        return cls(tuple(sorted(checked.items(), key=lambda pair: _telling(pair[0]))))

    def factor(self, source: str) -> float:
        """Return what scores of a source's memories are multiplied by."""
        return next((factor for pattern, factor in self.patterns if covers(pattern, source)), 1.0)

    def trusted(self) -> Among | None:
        """Return those whose factor is above 0; ``None`` where that is everyone."""
        if all(factor > 0 for _, factor in self.patterns):
            return None
        return Among(tuple((pattern, factor > 0) for pattern, factor in self.patterns), True)

    def classes(self) -> list[Among]:
        """Return, for every factor above 0, the sources that have it; none where all are alike."""
        factors = {1.0, *(factor for _, factor in self.patterns)} if self.patterns else set[float]()
        return [
            Among(tuple((pattern, own == factor) for pattern, own in self.patterns), factor == 1)
            for factor in sorted(factors - {0.0}, reverse=True)
        ]


def _telling(pattern: str) -> tuple[bool, int, str]:
    """Order patterns: whole names, then prefixes, the longer first."""
    return pattern.endswith(ANY_ENDING), -len(pattern), pattern
