"""Semantic memory for agents: one file, offline, found by meaning, merged without conflict.

Names are imported when they are first used, so that importing the package costs next to nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from chrysalis_memory.absorbing import AbsorbReport
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
    from chrysalis_memory.learner import LearnReport
    from chrysalis_memory.learning import NewMemory
    from chrysalis_memory.query import Filter
    from chrysalis_memory.recall import Explanation, Recollection, Weights
    from chrysalis_memory.record import MemoryRecord, RecalledRecord
    from chrysalis_memory.storage import MemoryStorage, StoreStatistics
    from chrysalis_memory.syncing import PeerStatus, SyncReport

__all__ = [
    "AbsorbReport",
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
    "LearnReport",
    "MemoryCollection",
    "MemoryDocument",
    "MemoryRecord",
    "MemoryStorage",
    "NewMemory",
    "ORSet",
    "PeerStatus",
    "RecalledRecord",
    "Recollection",
    "ScoreRegister",
    "StoreStatistics",
    "SyncReport",
    "VectorClock",
    "Weights",
]

_MODULES = {
    "chrysalis_memory.absorbing": ("AbsorbReport",),
    "chrysalis_memory.agent": ("AgentMemory",),
    "chrysalis_memory.collection": ("MemoryCollection",),
    "chrysalis_memory.config": ("AgentMemoryConfig",),
    "chrysalis_memory.crdt": (
        "GCounter",
        "GSet",
        "HybridLogicalClock",
        "LWWRegister",
        "ORSet",
        "ScoreRegister",
        "VectorClock",
    ),
    "chrysalis_memory.document": ("MemoryDocument",),
    "chrysalis_memory.embedding": ("Embedding",),
    "chrysalis_memory.errors": ("ChrysalisError",),
    "chrysalis_memory.learner": ("LearnReport",),
    "chrysalis_memory.learning": ("NewMemory",),
    "chrysalis_memory.query": ("Filter",),
    "chrysalis_memory.recall": (
        "Explanation",
        "Recollection",
        "Weights",
    ),
    "chrysalis_memory.record": (
        "MemoryRecord",
        "RecalledRecord",
    ),
    "chrysalis_memory.storage": (
        "MemoryStorage",
        "StoreStatistics",
    ),
    "chrysalis_memory.syncing": (
        "PeerStatus",
        "SyncReport",
    ),
}
_HOMES = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
