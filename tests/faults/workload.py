"""What is done to a store while faults come: every kind of write, from a seed.

An operation is one transaction. Before it ends it tells what the memories it touched come to, so
that whoever was told knows what the store holds once the operation has returned.
"""

import random
from collections.abc import Callable, Sequence
from typing import NamedTuple

from chrysalis_memory import Embedding, MemoryDocument, MemoryStorage
from chrysalis_memory.learning import MemoryChange, NewMemory, learn
from chrysalis_memory.transaction import Transaction

IDS = 40
DIMENSION = 16
_WORDS = tuple(f"{first}{last}" for first in "bdfgklmnprst" for last in ("ane", "ilo", "ume"))
_TAGS = ("red", "green", "blue", "urgent", "done")


def set_on_writer(storage: MemoryStorage, name: str, value: object) -> None:
    """Set a pragma of the connection that writes; some cannot be set inside a transaction."""
    storage._backend._writer._connection.pragma(name, value)


class Operation(NamedTuple):
    """One transaction: what it is, which memories it touches, what it does."""

    name: str
    ids: Sequence[str]
    work: Callable[[Transaction], object]

    def told(self, tell: Callable[[list[bytes]], None]) -> Callable[[Transaction], None]:
        """Return the work, which tells what it comes to as the last thing before its commit."""

        def work(transaction: Transaction) -> None:
            self.work(transaction)
            touched = [transaction.load(memory_id) for memory_id in self.ids]
            tell([document.to_bytes() for document in touched if document is not None])

        return work


class Workload:
    """Draws operations on a few memories, which several writers share."""

    def __init__(self, seed: int, writer: str) -> None:
        self._chance = random.Random(f"{seed} {writer}")
        self._writer = writer
        self._drawn = 0

    def next(self) -> Operation:
        """Return the next operation."""
        self._drawn += 1
        kind, ids = self._chance.choice(_KINDS), self._ids()
        return Operation(kind.__name__.strip("_"), ids, kind(self, ids))

    def group(self) -> list[Operation]:
        """Return operations that wait for their commit together; mostly one."""
        return [self.next() for _ in range(self._chance.choice((1, 1, 1, 1, 2, 4)))]

    def _ids(self) -> list[str]:
        return [f"m{number}" for number in self._chance.sample(range(IDS), 3)]

    def _text(self) -> str:
        length = self._chance.choice((4, 8, 20, 20, 900))  # the longest fill pages of their own
        words = self._chance.choices(_WORDS, k=length)
        return " ".join([self._writer, str(self._drawn), *words])

    def _new(self, memory_id: str) -> NewMemory:
        draw = self._chance
        return NewMemory.of(
            content=self._text(),
            id=memory_id,
            namespace=draw.choice((None, "work", "work/notes")),
            tags=draw.sample(_TAGS, draw.randrange(3)),
            importance=draw.choice((None, 0.25, 0.75)),
            metadata={"by": self._writer, "number": self._drawn},
            evidence=(f"{self._writer}-{self._drawn}",),
        )

    def _learned(self, memory_id: str) -> Callable[[Transaction], object]:
        new, has_vector = self._new(memory_id), self._chance.random() < 0.5
        vector = [self._chance.uniform(-1, 1) for _ in range(DIMENSION)]
        made = Embedding(vector, "drawn", text=new.content) if has_vector else None
        return lambda t: learn(t, new, made)

    def learn(self, ids: Sequence[str]) -> Callable[[Transaction], object]:
        """Learn one memory: new, known or forgotten."""
        return self._learned(ids[0])

    def update(self, ids: Sequence[str]) -> Callable[[Transaction], object]:
        """Change whichever of the memories live, all in one transaction."""
        change = MemoryChange.of(
            content=self._chance.choice((None, self._text())),
            add_tags=self._chance.sample(_TAGS, 1),
            remove_tags=self._chance.sample(_TAGS, 1),
            importance=self._chance.random(),
            metadata={"by": self._writer, "number": self._drawn},
            related=(f"{self._writer}-{self._drawn}",),
        )

        def work(transaction: Transaction) -> None:
            for memory_id in ids:
                document = transaction.load(memory_id)
                if document is not None and not document.is_forgotten:
                    change.apply(document)
                    transaction.put(document)

        return work

    def forget(self, ids: Sequence[str]) -> Callable[[Transaction], object]:
        """Forget one memory, if it lives."""
        return lambda t: t.forget(ids[0])

    def revive(self, ids: Sequence[str]) -> Callable[[Transaction], object]:
        """Forget a memory and learn it again, in one transaction."""
        learned = self._learned(ids[0])

        def work(transaction: Transaction) -> None:
            transaction.forget(ids[0])
            learned(transaction)

        return work

    def merge(self, ids: Sequence[str]) -> Callable[[Transaction], object]:
        """Merge what another replica wrote without knowing of this one."""
        documents = [MemoryDocument(one, self._text(), None, f"far {self._writer}") for one in ids]
        for document in documents:
            document.add_tag(self._chance.choice(_TAGS))
            document.record_access("far", self._drawn)
        return lambda t: t.merge_many(documents)

    def use(self, ids: Sequence[str]) -> Callable[[Transaction], object]:
        """Count uses, as a recall does."""
        counts = {memory_id: self._chance.randrange(1, 4) for memory_id in ids}
        return lambda t: t.count_access(counts)


_KINDS = (
    Workload.learn, Workload.learn, Workload.update, Workload.update, Workload.forget,
    Workload.revive, Workload.merge, Workload.use,
)  # fmt: skip
