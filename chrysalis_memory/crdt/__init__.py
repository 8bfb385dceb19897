"""Conflict-free replicated data types, one per file.

Each file has two faces over one rule: a pure function ``join`` over immutable state, which
documents use, and a mutable class with ``merge``, which people use.
"""

from chrysalis_memory.crdt.clock import HybridLogicalClock
from chrysalis_memory.crdt.gcounter import GCounter
from chrysalis_memory.crdt.gset import GSet
from chrysalis_memory.crdt.lww_register import LWWRegister
from chrysalis_memory.crdt.orset import ORSet
from chrysalis_memory.crdt.score_register import ScoreRegister
from chrysalis_memory.crdt.vector_clock import VectorClock

__all__ = [
    "GCounter",
    "GSet",
    "HybridLogicalClock",
    "LWWRegister",
    "ORSet",
    "ScoreRegister",
    "VectorClock",
]
