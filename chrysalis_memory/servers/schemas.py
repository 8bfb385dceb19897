"""What the JSON API takes and gives, as models: they check requests and describe themselves."""

from datetime import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StrictBool

from chrysalis_memory.history import Write
from chrysalis_memory.learning import NewMemory
from chrysalis_memory.query import Filter, Order
from chrysalis_memory.recall import Weights
from chrysalis_memory.recaller import CONTEXT_MAX, K_MAX, Mode
from chrysalis_memory.record import MemoryRecord, RecalledRecord
from chrysalis_memory.relations import Link, Related
from chrysalis_memory.storage import Accuracy
from chrysalis_memory.syncing import KeptApart, PeerStatus

_OFFSET_MAX = 2**53
MEMORIES_MAX = 1000
"""How many memories are learned or listed at once."""
POINTS_MAX = 10_000
SUMMARY_CHARACTERS = 120

Count = Annotated[int, Field(strict=True, ge=1, le=MEMORIES_MAX)]
Number = Annotated[float, Field(strict=True)]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


# What is asked


class NewMemories(_Model):
    """Several memories to learn; all are checked before the first is stored."""

    memories: Annotated[tuple[NewMemory, ...], Field(min_length=1, max_length=MEMORIES_MAX)]


class Wanted(Filter):
    """Conditions on memories, all of which must hold."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    # As it is sent; the filter that is made of it checks it.
    metadata: dict[str, Any] = Field(default_factory=dict)  # pyright: ignore[reportIncompatibleVariableOverride, reportUnknownVariableType]
    """Key to value, or key to operators ``$eq $ne $gt $gte $lt $lte $in $nin $exists``."""

    def conditions(self) -> dict[str, Any]:
        """Return the conditions that were given, as the front door takes them."""
        return self._given(set(Filter.model_fields))

    def _given(self, names: set[str]) -> dict[str, Any]:
        given = {name: getattr(self, name) for name in names & self.model_fields_set}
        return {name: value for name, value in given.items() if value is not None}


class Listing(Wanted):
    """Which memories to list, and how."""

    order: Order = "recent"
    """``recent`` newest first, ``created`` oldest first, ``importance`` most important first."""
    limit: Count = 50
    offset: Annotated[int, Field(strict=True, ge=0, le=_OFFSET_MAX)] = 0


class Alike(Wanted):
    """How many memories that are only alike, and what these must match."""

    k: Count = 5


class Mapped(Wanted):
    """Which memories to map: the newest that match."""

    limit: Annotated[int, Field(strict=True, ge=1, le=POINTS_MAX)] = 2000


class Recalling(Wanted):
    """A question to the memory; see ``AgentMemory.recall``."""

    query: Annotated[str, Field(json_schema_extra={"pattern": r"\S"})]
    k: Annotated[int, Field(strict=True, ge=1, le=K_MAX)] = 10
    track: StrictBool = True
    """Whether to count this as a use of what is found."""
    mode: Mode = "hybrid"
    min_score: Number | None = None
    weights: Weights | None = None
    rerank: Literal["late"] | None = None
    diversity: Annotated[float, Field(strict=True, ge=0, le=1)] = 0.0
    context: Annotated[int, Field(strict=True, ge=0, le=CONTEXT_MAX)] = 0
    accuracy: Accuracy | None = None

    def options(self) -> dict[str, Any]:
        """Return what was given besides the query, as ``AgentMemory.recall`` takes it."""
        return self._given(set(Recalling.model_fields) - {"query", "k", "track"})


class NoQuestion(_Model):
    """Nothing may stand behind the question mark."""


QUERY_TEXTS = frozenset({
    "namespace", "namespace_prefix", "memory_type", "tags_all", "tags_any", "tags_none", "episode",
    "sources", "sources_none",
    "created_from", "created_before", "updated_from", "updated_before", "order",
})  # fmt: skip
"""Fields that stand in a URL as they are; those of others are JSON there."""
QUERY_SEVERAL = frozenset(
    {"memory_type", "tags_all", "tags_any", "tags_none", "sources", "sources_none"}
)
"""Fields that may stand in a URL more than once."""


# What is answered


class Problem(_Model):
    """Why a request was refused or failed."""

    error: str
    """The name of the error, as ``chrysalis_memory.errors`` has it."""
    message: str
    """What happened and what to do, in one line."""


class Health(_Model):
    """Whether the memory can be read."""

    status: str


class Learned(_Model):
    """The id of what was learned."""

    id: str


class LearnedMany(_Model):
    """The ids of what was learned, in order."""

    ids: tuple[str, ...]


class Forgotten(_Model):
    """Whether there was such a memory."""

    forgotten: bool


class Listed(_Model):
    """One page of the memories that match, and how many match."""

    memories: tuple[MemoryRecord, ...]
    total: int


class Recalled(_Model):
    """What was found, best first."""

    memories: tuple[RecalledRecord, ...]


class WriteRecord(_Model):
    """A write that still counts."""

    field: str
    value: Any
    writer: str
    at: datetime

    @classmethod
    def of(cls, write: Write) -> Self:
        """Return the record of a write."""
        return cls(**write._asdict())


class Writes(_Model):
    """Who wrote what of a memory, newest first."""

    writes: tuple[WriteRecord, ...]


class RelatedRecord(_Model):
    """A memory that another is connected with."""

    memory: MemoryRecord
    link: Link | None
    """``null`` where it is only alike."""
    similarity: float | None
    """Cosine of both vectors; ``null`` where one is missing."""

    @classmethod
    def of(cls, related: Related) -> Self:
        """Return the record of a connection."""
        memory = MemoryRecord.of(related.memory)
        return cls(memory=memory, link=related.link, similarity=related.similarity)


class RelatedMany(_Model):
    """What a memory links to, and then what is most alike."""

    related: tuple[RelatedRecord, ...]


class Tags(_Model):
    """Tags with how many memories carry each, commonest first."""

    tags: tuple[tuple[str, int], ...]


class Point(_Model):
    """A memory as a point of the map."""

    id: str
    x: float
    y: float
    content: str
    """The first 120 characters."""
    memory_type: str
    tags: tuple[str, ...]
    created_at: datetime
    importance: float

    @classmethod
    def of(cls, memory: MemoryRecord, x: float, y: float) -> Self:
        """Return a memory as a point."""
        kept = {"id", "memory_type", "tags", "created_at", "importance"}
        content = memory.content[:SUMMARY_CHARACTERS]
        return cls(x=x, y=y, content=content, **memory.model_dump(include=kept))


class MapOfMemories(_Model):
    """The two principal components of the vectors."""

    points: tuple[Point, ...]
    explained: tuple[float, float]
    """Each component's share of the variance, 0 to 1."""


class Statistics(_Model):
    """What the store holds."""

    agent: str
    replica: str
    memories: int
    tags: tuple[tuple[str, int], ...]
    embedder: str | None
    """The fingerprint of the space; ``null`` before the first memory."""
    dimension: int | None
    pending: int
    """Memories that wait for their vector."""
    size_bytes: int


class Replicas(_Model):
    """This replica, its peers, and what is kept apart because its stamps lie in the future."""

    replica: str
    peers: tuple[PeerStatus, ...]
    quarantined: tuple[KeptApart, ...]
