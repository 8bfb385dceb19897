"""What a store holds and shows, as plain values that can be compared."""

from functools import lru_cache
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from chrysalis_memory import MemoryStorage
from chrysalis_memory.backends.base import WeightedTerm
from chrysalis_memory.query import Filter, Query
from chrysalis_memory.storage import Session

Tables = dict[str, list[Any]]

_QUERIES = ("number 7 of rivers", "changed companion")
_FILTERS = (
    Filter(),
    Filter.of(tags_any=["red", "blue"], minimum_importance=0.4),
    Filter.of(include_archived=True, metadata={"size": {"$gte": 2}}),
)


@lru_cache(1_000)
def vector_of(text: str, dimension: int) -> NDArray[np.float32]:
    """Return a unit vector that depends on nothing but a text."""
    chance = np.random.default_rng(list(text.encode()))
    vector = chance.standard_normal(dimension).astype(np.float32)
    return vector / np.linalg.norm(vector)


def tables(storage: MemoryStorage) -> Tables:
    """Return every row of every table, but FTS5's own, which depend on how writes were grouped."""

    def work(session: Session) -> Tables:
        connection = cast("Any", session).connection
        names = connection.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' "
            "AND name NOT LIKE 'memory_te%' AND name NOT LIKE 'sqlite_stat%' ORDER BY name"
        ).fetchall()
        found = {
            name: sorted(connection.execute(f"SELECT * FROM {name}").fetchall(), key=repr)
            for (name,) in names
        }
        # Random, and there until the file is cleaned, which closing does.
        found["meta"] = [row for row in found["meta"] if row[0] != "residue"]
        return found

    return storage.read(work)


def meaning(storage: MemoryStorage) -> dict[str, Any]:
    """Return what a store holds, without the stamps and numbers that depend on what else it did."""
    held = {document.id: _told(document) for document in storage.states()}

    def derived(session: Session) -> dict[str, Any]:
        connection = cast("Any", session).connection
        ids = dict(connection.execute("SELECT number, id FROM memory").fetchall())
        words = connection.execute("SELECT memory, tokens FROM memory_word").fetchall()
        spaces = session.spaces()
        return {
            "words": {ids[number]: tokens for number, tokens in words},
            "spaces": sorted((space.fingerprint, space.active) for space in spaces),
            "vectors": {
                space.fingerprint: sorted(
                    (ids[number], text_hash)
                    for number, text_hash in connection.execute(
                        f"SELECT memory, text_hash FROM vector_{space.number}"
                    )
                )
                for space in spaces
            },
            "pending": {
                space.fingerprint: sorted(one.id for one in session.pending(space, limit=10_000))
                for space in spaces
            },
        }

    return {"memories": held, **storage.read(derived)}


def _told(document: Any) -> Any:
    if document.is_forgotten:
        return document.state.life
    return (
        document.state.life,
        document.content,
        document.namespace,
        sorted(document.get_tags()),
        document.get_importance(),
        document.metadata,
        document.archived,
        document.get_access_count(),
    )


def seen(session: Session, now_us: int) -> list[Any]:
    """Return what a session finds and counts, by everything that is kept between transactions."""
    queries = [Query(one, now_us) for one in _FILTERS]
    found: list[Any] = [
        session.spaces(),
        session.document_count(),
        list(session.digest_sums()),
        session.head(),
        [session.tag_counts(query) for query in queries],
        [session.count(query) for query in queries],
    ]
    for text in _QUERIES:
        terms = [session.term(word) for word in text.split()]
        frequencies = session.document_frequencies(terms)
        weighted = [
            WeightedTerm(term, frequency, 1.0 + number)
            for number, (term, frequency) in enumerate(zip(terms, frequencies, strict=True))
        ]
        found += [frequencies]
        found += [session.best_by_words(weighted, query, limit=5) for query in queries]
    for space in session.spaces():
        for text in _QUERIES:
            vector = vector_of(text, space.dimension)
            found += [session.nearest(space, vector, 5, one).pairs for one in queries]
        found.append(session.pending_count(space))
    return found
