"""Wrong input by chance: values that are odd, trees with an odd place, bytes that were changed."""

import json
import random
import struct
from collections.abc import Callable
from typing import Any

from chrysalis_memory import codec
from chrysalis_memory.replication import frames

ODD: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2**31, 2**53, 2**62, 2**63, 2**64 - 1, -(2**63), 0.5, -0.0, 1e308,
    float("inf"), float("-inf"), float("nan"), "", " ", "\n", "\0", "a\0b", "\ud800", "a\udfffb",
    "\ufeff", "é", "日本語", "e\u0301", "\u202e", "👩‍👩‍👧", "/", "a//b", "/a", "a/",
    "..", "%", "_", "*", "'", '"', "\\", "--", ";", "' OR 1=1 --", "NEAR(", "a AND", '"', "x" * 513,
    "2026-11-22", "2026-11-22T09:30:00Z", "9999-12-31T23:59:59+14:00", "0000", [], {}, [[]],
    [None], ["a"], ["a", 1], [""] * 9, {"": 1}, {"a": None}, {"$gte": 1}, {"$in": 1}, {"$nope": []},
    {"a": {"$gte": "x", "$lt": None}}, [1, "w", "x"], [2**63, "w", "x"], ["1", 1, 1], [1, "w"],
    {"w": [1, 0.5, 0]}, {"w": [1, 2, 3]}, {"w": 3}, {"w": -3},
)  # fmt: skip
"""Values that some check or other is for."""

BOMBS: tuple[Callable[[], str], ...] = (
    lambda: "[" * 100_000,
    lambda: "[" * 500 + "]" * 500,
    lambda: "[" + "[]," * 1_000_000 + "[]]",
    lambda: '{"a":' * 100_000,
    lambda: '{"content": {' + ",".join(f'"k{n}": []' for n in range(400_000)) + "}}",
    lambda: "9" * 1_000_000,
    lambda: '"' + "x" * 6_000_000 + '"',
    lambda: '"' * 3_000_000,
)  # fmt: skip
"""JSON that would take far more memory or time than it has bytes."""


def odd(chance: random.Random, depth: int = 0) -> Any:
    """Return a value that is seldom meant, now and then one made of several."""
    if depth < 3 and chance.random() < 0.15:
        several = [odd(chance, depth + 1) for _ in range(chance.randrange(4))]
        if chance.random() < 0.5:
            return several
        return {str(odd(chance, 3))[:40]: one for one in several}
    if chance.random() < 0.002:
        return "é" * chance.choice((2_000, 300_000, 600_000))
    if chance.random() < 0.1:
        return "".join(chr(chance.randrange(0x2FFF)) for _ in range(chance.randrange(30)))
    return chance.choice(ODD)


def mutated(chance: random.Random, value: Any) -> Any:
    """Return a JSON value with something in it replaced, removed, or there twice."""
    if isinstance(value, dict) and value and chance.random() < 0.85:
        key = chance.choice(sorted(value))
        kept = {name: value[name] for name in value if name != key}
        match chance.randrange(10):
            case 0:
                return kept
            case 1:
                return kept | {str(odd(chance, 3))[:600]: value[key]}
            case _:
                return kept | {key: mutated(chance, value[key])}
    if isinstance(value, list | tuple) and value and chance.random() < 0.85:
        at = chance.randrange(len(value))
        match chance.randrange(10):
            case 0:
                return [*value[:at], *value[at + 1 :]]
            case 1:
                return [*value[:at], *[value[at]] * chance.randrange(2, 50), *value[at:]]
            case _:
                return [*value[:at], mutated(chance, value[at]), *value[at + 1 :]]
    return odd(chance)


def as_json(chance: random.Random, value: Any) -> bytes:
    """Return JSON as programs write it, which may hold what strict JSON does not."""
    if chance.random() < 0.001:
        return chance.choice(BOMBS)().encode()
    text = json.dumps(value, ensure_ascii=chance.random() < 0.5)
    if chance.random() < 0.05:
        text = text.replace("{", '{"a": 1, "a": 2, ', 1)
    return text.encode(errors="surrogatepass")


def damaged(chance: random.Random, data: bytes) -> bytes:
    """Return bytes of which some were cut off, changed, put in, or moved."""
    changed = bytearray(data)
    if not changed:
        return chance.randbytes(20)
    at = chance.randrange(len(changed))
    match chance.randrange(5):
        case 0:
            del changed[at:]
        case 1:
            changed[at] ^= 1 << chance.randrange(8)
        case 2:
            changed[at:at] = chance.randbytes(chance.randrange(1, 50))
        case 3:
            changed = bytearray(chance.randbytes(chance.randrange(200)))
        case _:
            half = len(changed) // 2
            changed = changed[half:] + changed[:half]
    return bytes(changed)


def enveloped(payload: bytes) -> bytes:
    """Return a payload as a frame that is whole, whatever it says."""
    digest = codec.digest(payload, size=8)
    return struct.pack(">4sBI8s", frames.MAGIC, frames.VERSION, len(payload), digest) + payload
