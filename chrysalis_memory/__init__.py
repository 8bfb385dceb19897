"""Semantic memory for agents: one file, offline, found by meaning, merged without conflict."""

from chrysalis_memory.agent import AgentMemory
from chrysalis_memory.collection import MemoryCollection
from chrysalis_memory.config import AgentMemoryConfig
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
from chrysalis_memory.errors import ChrysalisError
from chrysalis_memory.learning import NewMemory
from chrysalis_memory.query import Filter
from chrysalis_memory.recall import Explanation, Recollection, Weights
from chrysalis_memory.storage import MemoryStorage

__all__ = [
    "AgentMemory",
    "AgentMemoryConfig",
    "ChrysalisError",
    "Embedding",
    "Explanation",
    "Filter",
    "GCounter",
    "GSet",
    "HybridLogicalClock",
    "LWWRegister",
    "MemoryCollection",
    "MemoryDocument",
    "MemoryStorage",
    "NewMemory",
    "ORSet",
    "Recollection",
    "ScoreRegister",
    "VectorClock",
    "Weights",
]
