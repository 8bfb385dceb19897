"""What a store must hold: the join of what was acknowledged, and what may be there besides."""

from collections.abc import Iterable, Sequence

from chrysalis_memory import MemoryDocument, MemoryStorage
from chrysalis_memory import state as states
from chrysalis_memory.state import State

Content = dict[str, State]
"""Every memory's whole state by its id, forgotten ones too."""
Told = list[bytes]
"""What the memories of one operation come to, as canonical bytes."""


def content_of(storage: MemoryStorage) -> Content:
    """Return all that a store holds."""
    return {document.id: document.state for document in storage.states()}


class Ledger:
    """Joins what was acknowledged, apart from any store.

    Args:
        content: What a store holds at the beginning.
    """

    def __init__(self, content: Content | None = None) -> None:
        self.content: Content = dict(content or {})

    def join(self, told: Told) -> None:
        """Add what one operation came to."""
        for memory_id, state in _read(told):
            known = self.content.get(memory_id)
            self.content[memory_id] = state if known is None else states.join(known, state)

    def settle(self, found: Content, in_flight: Iterable[Sequence[Told]]) -> None:
        """Check what was found after a fault, and go on from it.

        Args:
            found: What the store holds now.
            in_flight: For each writer the operations that had begun and were not acknowledged, in
                their order. The first of them may be there, each whole; what comes after one that
                is not there may not.

        Raises:
            AssertionError: something was lost, is half there, or comes from nowhere.
        """
        lost = sorted(one for one in self.content if not _holds(found, one, self.content[one]))
        assert lost == [], f"lost of what was acknowledged: {_shown(lost, found, self.content)}"
        for begun in in_flight:
            for told in begun:
                if not all(_holds(found, *one) for one in _read(told)):
                    break
                self.join(told)
        ghosts = sorted(one for one in found if found[one] != self.content.get(one))
        assert ghosts == [], f"there is more than was done: {_shown(ghosts, found, self.content)}"


def _read(told: Told) -> list[tuple[str, State]]:
    documents = map(MemoryDocument.from_bytes, told)
    return [(document.id, document.state) for document in documents]


def _holds(found: Content, memory_id: str, state: State) -> bool:
    known = found.get(memory_id)
    return known is not None and states.join(known, state) == known


def _shown(ids: list[str], found: Content, expected: Content) -> str:
    shown = [f"{one}: found {found.get(one)}, expected {expected.get(one)}" for one in ids[:3]]
    return "\n".join([f"{len(ids)} memories", *shown])
