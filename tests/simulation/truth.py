"""What must survive, worked out from the history of writes alone.

Every write is noted with its stamp, its writer, its life and the set of writes it had observed.
From those that some replica holds, :meth:`History.view` works out what a memory must show, by the
rules of ``docs/merging.md`` and without any code of the product. Sets of writes are integers: bit
``i`` stands for the memory's ``i``-th write.
"""

import json
from collections import defaultdict
from typing import Any, NamedTuple

REGISTERS = {
    "content": None, "memory_type": "semantic", "namespace": "", "episode": None, "position": None,
    "expires_at": None, "archived": False,
}  # fmt: skip
LINKS = ("related", "parents", "evidence")
SCORES = ("importance", "confidence")
UNSTAMPED = (*LINKS, "untag", "access", "forget")
"""Writes whose stamp is not part of the memory."""


class Write(NamedTuple):
    """One write of one part of a memory."""

    field: str
    key: Any
    value: Any
    stamp: int
    writer: str
    life: int
    seen: int
    """The writes it had observed."""


class View(NamedTuple):
    """What a memory must show."""

    life: int
    fields: dict[str, Any]
    """Empty for one that is forgotten."""
    stamp: int
    """The greatest stamp in it."""

    @property
    def alive(self) -> bool:
        return self.life % 2 == 1


UNKNOWN = View(0, {}, 0)


class History:
    """Every write of every memory."""

    def __init__(self) -> None:
        self.writes: dict[str, list[Write]] = defaultdict(list)
        self._access: dict[str, int] = defaultdict(int)
        self._views: dict[tuple[str, int], View] = {}

    def note(self, memory_id: str, write: Write) -> int:
        """Add a write; return its bit."""
        bit = 1 << len(self.writes[memory_id])
        self.writes[memory_id].append(write)
        if write.field == "access":
            self._access[memory_id] |= bit
        return bit

    def access_among(self, memory_id: str, known: int) -> int:
        """Return those of the known writes that count uses."""
        return known & self._access[memory_id]

    def view(self, memory_id: str, known: int) -> View:
        """Return what the memory must show where these writes are known."""
        if not known:
            return UNKNOWN
        found = self._views.get((memory_id, known))
        if found is None:
            found = self._views[memory_id, known] = self._worked_out(memory_id, known)
        return found

    def _worked_out(self, memory_id: str, known: int) -> View:
        writes = [(1 << i, w) for i, w in enumerate(self.writes[memory_id]) if known >> i & 1]
        life = max(write.life for _, write in writes)
        if life % 2 == 0:
            return View(life, {}, 0)
        by_part: dict[tuple[str, Any], list[tuple[int, Write]]] = defaultdict(list)
        for bit, write in writes:
            if write.life == life:
                field = "tag" if write.field == "untag" else write.field
                by_part[field, write.key].append((bit, write))
        fields: dict[str, Any] = {
            name: _latest(by_part.get((name, None), []), default)
            for name, default in REGISTERS.items()
        }
        for name in SCORES:
            fields[name] = _score(by_part.get((name, None), []))
        for name in LINKS:
            fields[name] = sorted(key for field, key in by_part if field == name)
        fields["tags"] = sorted(
            key for (field, key), ws in by_part.items() if field == "tag" and _is_tagged(ws)
        )
        metadata = {
            key: _latest(ws, None) for (field, key), ws in by_part.items() if field == "metadata"
        }
        fields["metadata"] = {k: v for k, v in sorted(metadata.items()) if v is not None}
        fields["access"] = sum(
            max(write.value for _, write in ws)
            for (field, _), ws in by_part.items()
            if field == "access"
        )
        fields["created"] = min((w.stamp, w.writer) for _, w in by_part["created", None])
        stamp = max(w.stamp for ws in by_part.values() for _, w in ws if w.field not in UNSTAMPED)
        return View(life, fields, stamp)


def _latest(writes: list[tuple[int, Write]], default: Any) -> Any:
    """Return the value of the writes that no other has replaced; ties by writer, then value."""
    replaced = 0
    for _, write in writes:
        replaced |= write.seen
    left = [write for bit, write in writes if not replaced & bit]
    if not left:
        return default
    return max(left, key=lambda w: (w.stamp, w.writer, json.dumps(w.value))).value


def _undone(writes: list[tuple[int, Write]]) -> dict[str, int]:
    """Return, by writer, up to which stamp its writes were observed and replaced or removed.

    Writes under one name are settled by their stamps, so one of two copies that share a name
    undoes what the other wrote before the same stamp.
    """
    undone: dict[str, int] = {}
    for _, later in writes:
        for bit, write in writes:
            if later.seen & bit and write.field != "untag":
                undone[write.writer] = max(undone.get(write.writer, 0), write.stamp)
    return undone


def _is_tagged(writes: list[tuple[int, Write]]) -> bool:
    undone = _undone(writes)
    return any(w.field == "tag" and w.stamp > undone.get(w.writer, 0) for _, w in writes)


def _score(writes: list[tuple[int, Write]]) -> float:
    undone = _undone(writes)
    latest: dict[str, tuple[int, float]] = {}
    for _, write in writes:
        latest[write.writer] = max(latest.get(write.writer, (0, 0.0)), (write.stamp, write.value))
    return max((v for name, (s, v) in latest.items() if s > undone.get(name, 0)), default=0.5)
