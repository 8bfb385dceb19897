"""The kernel that sets and scores share: per writer, the latest live entry and what was cleared.

An entry is ``(live stamp, value, cleared stamp)``. Joining takes the maximum of each half on its
own; the entry counts when its live stamp is above its cleared stamp. Every write first clears the
entries it has observed, so a later write replaces an earlier one while concurrent writes stand
side by side. There is one entry per writer and no growing log.

The idea is the observed-remove map of Bieniusa et al. (2012) with a dot ``(writer, stamp)`` in
place of a version vector: joins are computed on values alone, so that two copies that share a
writer name, or a document written blindly under a known id, lose nothing.
"""

from typing import Any, cast

from chrysalis_memory import codec
from chrysalis_memory.codec import shown
from chrysalis_memory.crdt.clock import STAMP_MAX
from chrysalis_memory.errors import InvalidValue

Entry = tuple[int, float, int]
Entries = dict[str, Entry]
"""Writer to entry; treated as immutable once shared."""

NO_STAMP = 0


def join(mine: Entries, theirs: Entries) -> Entries:
    """Return the join of both; one of the arguments itself where that is already it."""
    if mine is theirs or not theirs or mine == theirs:
        return mine
    if not mine:
        return theirs
    joined = mine.copy()
    for writer, entry in theirs.items():
        own = joined.get(writer)
        if own is None:
            joined[writer] = entry
        elif own != entry:
            joined[writer] = _join_entry(own, entry)
    return joined


def _join_entry(own: Entry, other: Entry) -> Entry:
    stamp, value, cleared = own
    if other[2] > cleared:
        cleared = other[2]
    if other[0] > stamp or (other[0] == stamp and other[1] > value):
        stamp, value, _ = other
    return (stamp, value, cleared) if stamp > cleared else (NO_STAMP, 0.0, cleared)


def write(entries: Entries, writer: str, stamp: int, value: float) -> Entries:
    """Return the entries after ``writer`` replaced all that it observed by ``value``."""
    written = clear(entries)
    cleared = written[writer][2] if writer in written else NO_STAMP
    written[writer] = (stamp, value, cleared)
    return written


def clear(entries: Entries) -> Entries:
    """Return the entries with every observed one cleared."""
    return {
        writer: (NO_STAMP, 0.0, max(stamp, cleared))
        for writer, (stamp, _, cleared) in entries.items()
    }


def values(entries: Entries) -> list[float]:
    """Return the values that count."""
    return [value for stamp, value, _ in entries.values() if stamp]


def counts(entries: Entries) -> bool:
    """Tell whether any entry counts."""
    return any(stamp for stamp, _, _ in entries.values())


def greatest_stamp(entries: Entries) -> int:
    """Return the greatest stamp in any entry, live or cleared; 0 when there is none."""
    return max((max(stamp, cleared) for stamp, _, cleared in entries.values()), default=NO_STAMP)


def check_entries(entries: object) -> Entries:
    """Return a copy of ``entries`` in normal form.

    Raises:
        InvalidValue: another shape, a stamp out of range, a value that is not in [0, 1].
    """
    if not isinstance(entries, dict):
        raise InvalidValue(f"entries map a writer to [stamp, value, cleared], got {shown(entries)}")
    checked: Entries = {}
    for writer, entry in cast("dict[object, Any]", entries).items():
        if not isinstance(entry, list | tuple) or len(cast("list[Any]", entry)) != 3:
            raise InvalidValue(
                f"entries map a writer to [stamp, value, cleared], got {shown(entry)}"
            )
        stamp, value, cleared = cast("list[Any]", entry)
        if not (_is_stamp(stamp) and _is_stamp(cleared) and _is_score(value)):
            raise InvalidValue(f"{shown(entry)} of {shown(writer)} is no [stamp, value, cleared]")
        name = codec.check_text(writer, what="writer")
        checked[name] = _join_entry((stamp, value + 0.0, cleared), (NO_STAMP, 0.0, NO_STAMP))
    return checked


def _is_stamp(value: object) -> bool:
    return type(value) is int and 0 <= value < STAMP_MAX


def _is_score(value: object) -> bool:
    return type(value) in (int, float) and 0 <= value <= 1  # type: ignore[operator]
