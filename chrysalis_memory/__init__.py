"""Semantic memory for agents: one file, offline, found by meaning, merged without conflict."""

from chrysalis_memory.collection import MemoryCollection
from chrysalis_memory.crdt import (
    GCounter,
    GSet,
    HybridLogicalClock,
    LWWRegister,
    ORSet,
    ScoreRegister,
    VectorClock,
)
from chrysalis_memory.document import MemoryDocument
from chrysalis_memory.embedding import Embedding
from chrysalis_memory.query import Filter
from chrysalis_memory.storage import MemoryStorage
