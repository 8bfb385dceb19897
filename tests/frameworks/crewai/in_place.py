"""A pytest plugin that puts our storage in the place of CrewAI's own.

CrewAI's tests give the vectors of records and of queries themselves, so the memory beneath takes
those in place of an embedder's.
"""

from pathlib import Path
from typing import Any

import crewai.memory.storage.lancedb_storage as theirs

from chrysalis_memory import AgentMemory
from chrysalis_memory.integrations.crewai import ChrysalisStorage

_VECTORS: dict[Path, dict[str, list[float]]] = {}


class GivenVectors(ChrysalisStorage):
    """Our storage, with the signature of theirs."""

    def __init__(self, path: Any = None, vector_dim: int | None = None, **_: Any) -> None:
        folder = Path(path)
        self._vectors = _VECTORS.setdefault(folder, {})
        self._width = vector_dim
        super().__init__(
            AgentMemory(
                "crew", path=folder / "memory.db", embedding_fn=self._vector_of,
                synchronous="NORMAL",
            )
        )  # fmt: skip

    def _vector_of(self, text: str) -> list[float]:
        known = self._vectors.get(text) or next(iter(self._vectors.values()), None)
        return _pointing(known or [1.0] * (self._width or 3072))

    async def _save(self, records: Any) -> None:
        for record in records:
            if record.embedding:
                self._vectors[record.content] = _pointing(record.embedding)
        await super()._save(records)


def _pointing(vector: list[float]) -> list[float]:
    """Return a vector that points somewhere: nothing can be near to one of length 0."""
    return vector if any(vector) else [1.0] * len(vector)


theirs.LanceDBStorage = GivenVectors  # type: ignore[misc]
