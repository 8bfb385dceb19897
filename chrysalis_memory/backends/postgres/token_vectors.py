"""The signs of token vectors, kept beside the memories for late interaction."""

from collections.abc import Sequence

from chrysalis_memory.backends.base import Pending, Space
from chrysalis_memory.backends.postgres.spaces import VectorSpaces


class TokenVectors(VectorSpaces):
    """Keeps packed token vectors on one connection; what they mean is not known here."""

    def without_tokens(self, space: Space, *, limit: int) -> list[Pending]:
        """See :meth:`Session.without_tokens`."""
        rows = self.database.rows(
            "SELECT m.number, m.id, m.content FROM memory m WHERE m.content IS NOT NULL "
            "AND NOT EXISTS (SELECT 1 FROM token_vector t WHERE t.space = %s "
            "AND t.memory = m.number) ORDER BY m.number LIMIT %s",
            (space.number, limit),
        )
        return [Pending(*row) for row in rows]

    def save_tokens(self, space: Space, number: int, text_hash: bytes, packed: bytes) -> bool:
        """See :meth:`Session.save_tokens`."""
        held = self.held_by_number(number)
        if held is None or not self._has_text(number, text_hash):
            return False
        self.database.run(
            "INSERT INTO token_vector VALUES (%s, %s, %s, %b) "
            "ON CONFLICT (memory, space, bucket) DO UPDATE SET packed = excluded.packed",
            (held.bucket, space.number, number, packed),
        )
        return True

    def tokens_of(self, space: Space, numbers: Sequence[int]) -> dict[int, bytes]:
        """See :meth:`Session.tokens_of`."""
        if not numbers:
            return {}
        rows = self.database.rows(
            "SELECT memory, packed FROM token_vector WHERE space = %s "
            "AND memory = ANY(%s::bigint[])",
            (space.number, list(numbers)),
        )
        return dict(rows)
