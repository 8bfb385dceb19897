"""Rows put into a backend as they are, without merging."""

from typing import Any

from chrysalis_memory import MemoryDocument
from chrysalis_memory import state as states
from chrysalis_memory.backends.rows import SavedRow
from chrysalis_memory.transaction import row_of


def put_row(session: Any, document: MemoryDocument) -> int:
    """Insert or replace the row of a document, every column of it; return its number."""
    row = row_of(document.id, document.state, states.greatest_stamp(document.state))
    stored = session.load(document.id)
    if stored is None:
        return session.save(row, None)
    before = states.decode(stored.state)[1]
    content = None if before.content is None else before.content[2]
    return session.save(row, SavedRow(stored.number, before.life, content, frozenset()))
