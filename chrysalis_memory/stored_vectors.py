"""The embedding spaces of a store: which there are, what waits for a vector, and vectors in."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import TypeVar

from chrysalis_memory.backends.base import Pending, Session, Space
from chrysalis_memory.embedding import Embedding
from chrysalis_memory.transaction import Transaction

T = TypeVar("T")


class StoredVectors(ABC):
    """The part of a store that keeps vectors."""

    @abstractmethod
    def read(self, work: Callable[[Session], T]) -> T:
        """Run ``work`` on one consistent snapshot, in the calling thread."""

    @abstractmethod
    def run(self, work: Callable[[Transaction], T]) -> T:
        """Run ``work`` as one transaction, and return what it returns once it is durable."""

    def spaces(self) -> list[Space]:
        """Return the embedding spaces of the file."""
        return self.read(lambda session: session.spaces())

    def open_space(
        self, fingerprint: str, model: str, dimension: int, *, name: str | None = None
    ) -> Space:
        """Return the space with this fingerprint, creating it with every memory pending.

        ``name`` is kept with it: what resolves to the embedder when the file is opened again.
        The first space of a file is active at once; a later one when :meth:`activate_space` says.
        """

        def work(transaction: Transaction) -> Space:
            known = transaction.space(fingerprint)
            return known or transaction.session.create_space(fingerprint, model, dimension, name)

        known = next((s for s in self.spaces() if s.fingerprint == fingerprint), None)
        return known or self.run(work)

    def activate_space(self, space: Space) -> None:
        """Make recall search ``space``, and drop the others.

        Raises:
            EmbeddingSpaceMismatch: the space was dropped meanwhile.
        """
        self.run(lambda t: t.activate_space(space))

    def pending(self, space: Space, *, limit: int) -> list[Pending]:
        """Return memories that wait for their vector."""
        return self.read(lambda session: session.pending(space, limit=limit))

    def put_vectors(self, space: Space, vectors: Sequence[tuple[int, Embedding]]) -> int:
        """Store vectors by row number; return how many still stood for their memory's text.

        Raises:
            EmbeddingSpaceMismatch: the space was dropped meanwhile.
        """

        def work(transaction: Transaction) -> int:
            transaction.require_space(space)
            transaction.session.prefetch_numbers(number for number, _ in vectors)
            return sum(
                transaction.session.save_vector(space, number, e.text_hash, e.vector)
                for number, e in vectors
            )

        return self.run(work)

    def put_tokens(self, space: Space, tokens: Sequence[tuple[int, bytes, bytes]]) -> None:
        """Store packed token vectors by row number, each with the digest of its text.

        Those of a text that has changed meanwhile, or of a space that was dropped, are not stored.
        """

        def work(transaction: Transaction) -> None:
            if transaction.space(space.fingerprint) is not None:
                transaction.session.prefetch_numbers(number for number, *_ in tokens)
                for number, text_hash, packed in tokens:
                    transaction.session.save_tokens(space, number, text_hash, packed)

        self.run(work)
