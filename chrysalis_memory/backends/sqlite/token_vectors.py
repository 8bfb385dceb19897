"""The signs of token vectors, kept beside the memories for late interaction."""

from collections.abc import Sequence

from chrysalis_memory import codec
from chrysalis_memory.backends.base import Pending, Space
from chrysalis_memory.backends.sqlite.database import Database, number_array


class TokenVectors:
    """Keeps packed token vectors on one connection; what they mean is not known here."""

    connection: Database

    def without_tokens(self, space: Space, *, limit: int) -> list[Pending]:
        """See :meth:`Session.without_tokens`."""
        rows = self.connection.execute(
            "SELECT m.number, m.id, m.content FROM memory m WHERE m.content IS NOT NULL "
            "AND NOT EXISTS (SELECT 1 FROM token_vector t WHERE t.space = ? "
            "AND t.memory = m.number) ORDER BY m.number LIMIT ?",
            (space.number, limit),
        )
        return [Pending(*row) for row in rows]

    def save_tokens(self, space: Space, number: int, text_hash: bytes, packed: bytes) -> bool:
        """See :meth:`Session.save_tokens`."""
        content = self.connection.execute(
            "SELECT content FROM memory WHERE number = ?", (number,)
        ).get
        if content is None or codec.text_hash(content) != text_hash:
            return False
        self.connection.execute(
            "INSERT OR REPLACE INTO token_vector VALUES (?, ?, ?)", (space.number, number, packed)
        )
        return True

    def tokens_of(self, space: Space, numbers: Sequence[int]) -> dict[int, bytes]:
        """See :meth:`Session.tokens_of`."""
        if not numbers:
            return {}
        rows = self.connection.execute(
            "SELECT t.memory, t.packed FROM carray(?) AS c "
            "CROSS JOIN token_vector t ON t.space = ? AND t.memory = c.value",
            (number_array(numbers), space.number),
        )
        return dict(rows.fetchall())

    def delete_tokens(self, number: int) -> None:
        """Remove the token vectors of a memory from every space."""
        self.connection.execute("DELETE FROM token_vector WHERE memory = ?", (number,))

    def drop_tokens(self, space: Space) -> None:
        """Remove all token vectors of a space; they are made anew from the texts."""
        self.connection.execute("DELETE FROM token_vector WHERE space = ?", (space.number,))
