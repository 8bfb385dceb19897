"""Input that is wrong by chance: files to import, conditions and names, frames of a sync.

Each round is answered or refused by an error of the tree. What is refused has changed nothing: the
file has not been written. All rounds together take little memory.
"""

import asyncio
import hashlib
import json
import multiprocessing
import os
import random
import tempfile
import zipfile
from collections.abc import AsyncGenerator, Awaitable, Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

from chrysalis_memory import AgentMemory, MemoryDocument, codec, importers
from chrysalis_memory.changes import Header
from chrysalis_memory.errors import ChrysalisError
from chrysalis_memory.replication import frames
from chrysalis_memory.replication.messages import (
    AskBuckets,
    AskSums,
    Item,
    Items,
    Message,
    Offer,
    Page,
    Push,
    Sender,
    Since,
    Want,
)
from chrysalis_memory.replication.replica import Replica
from chrysalis_memory.replication.transport import answer
from tests.faults import ram
from tests.faults.audit import audit
from tests.faults.mutations import as_json, damaged, enveloped, mutated, odd
from tests.faults.runs import Run

MEMORY_BYTES_MAX = 64 << 20
_LOOK_EVERY = 200
"""How often the file's bytes are compared; whether it was written at all, every time."""
_ROUNDS_OF_A_FILE = 10_000
"""Then another is begun: a file that has grown takes more memory, whatever it is given."""

_GIVES_BACK = dict.fromkeys(("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_"), str(128 << 10))
"""What glibc begins with. Unless it is set, glibc raises it with the sizes that are freed, and then
keeps free memory of that size for each thread that was there: the process has it, nothing holds it.
"""

Give = Callable[[AgentMemory, random.Random, Path], Awaitable[object]]
"""Gives something wrong to a memory; what it returns as true was taken."""


# What is given


async def export(memory: AgentMemory, chance: random.Random, folder: Path) -> int:
    """Import lines as ``export`` writes them."""
    path = _exported(chance, folder)
    ram.count_most_anew()
    return await memory.import_(path)


def _exported(chance: random.Random, folder: Path) -> Path:
    lines = [as_json(chance, one) for one in (_DOCUMENT, mutated(chance, _DOCUMENT))]
    chance.shuffle(lines)
    return _file(chance, folder / "export.jsonl", b"\n".join(lines))


async def foreign(memory: AgentMemory, chance: random.Random, folder: Path) -> int:
    """Import what other programs keep, as the command does."""
    form = chance.choice(sorted(_FOREIGN))
    path = _of_others(chance, folder, form)
    ram.count_most_anew()
    source = importers.read(path, chance.choice(("auto", form)))
    report = await memory.learn_each([found.fields for found in source.memories])
    return len(report.learned) + len(report.joined)


def _of_others(chance: random.Random, folder: Path, form: str) -> Path:
    value = mutated(chance, _FOREIGN[form])
    as_lines = form in ("jsonl", "graph") and isinstance(value, list)
    data = b"\n".join(as_json(chance, one) for one in value) if as_lines else as_json(chance, value)
    path = _file(chance, folder / chance.choice(("a.json", "a.jsonl", "a.md", "a.txt")), data)
    return _zipped(chance, path) if chance.random() < 0.2 else path


async def values(memory: AgentMemory, chance: random.Random, _: Path) -> object:
    """Learn, change, find and recall with odd names, fields and conditions."""
    some = {name: odd(chance) for name in chance.sample(_CONDITIONS, chance.randrange(1, 4))}
    match chance.randrange(6):
        case 0:
            fields = mutated(chance, _FIELDS)
            return await memory.learn_many(
                [fields if isinstance(fields, dict) else {"content": fields}]
            )
        case 1:
            return await memory.update("known", **{chance.choice(_CHANGES): odd(chance)})
        case 2:
            return await memory.forget(odd(chance))
        case 3:
            return len(await memory.find(order=odd(chance), limit=odd(chance), **some)) and False
        case 4:
            await memory.recall(odd(chance), odd(chance), track=False, **some)
        case _:
            await memory.recall("tea", 3, track=False, **some)
    return False


async def frame(memory: AgentMemory, chance: random.Random, _: Path) -> bool:
    """Answer a frame that was damaged, is whole and says something odd, or is replayed."""
    message = chance.choice(_MESSAGES)
    match chance.randrange(4):
        case 0:
            given = damaged(chance, frames.encode(message))
        case 1:
            fields = mutated(chance, {"type": type(message).__name__, **message._asdict()})
            given = _framed(chance, fields)
        case 2:
            payload = frames.encode(message)[frames.HEADER_BYTES :]
            given = enveloped(damaged(chance, payload))
        case _:
            given = frames.encode(message)
    answer(Replica(memory.storage), given)
    return True  # what was seen of who asks is kept


_DOCUMENT: dict[str, Any]
_MESSAGES: list[Message]


def _samples() -> tuple[dict[str, Any], list[Message]]:
    document = MemoryDocument(id="known", content="Tea is at four", source_instance="ada")
    document.add_tag("drink")
    document.set_importance(0.7)
    document.set_metadata({"cups": 2, "with": ["milk"]})
    document.set_episode("monday", 3)
    document.add_related("other")
    document.record_access("r", 3)
    sender, item = Sender("r", bytes(8), 4), Item(document.to_bytes(), {"r": 3})
    headers = [Header("known", 1, bytes(16), {"r": 3})]
    messages: list[Message] = [
        Since(sender, b"", 10, 0.0), Want(["known"]), Offer(sender, headers), Push("r", [item]),
        AskSums(), AskBuckets([0, 255], "m", 10), Items([item]),
        Page("r", headers, [item], b"c", False, bytes(16), 0, 0, False),
    ]  # fmt: skip
    return json.loads(document.to_json()), messages


_DOCUMENT, _MESSAGES = _samples()
_FIELDS: dict[str, Any] = {
    "content": "Tea is at four", "id": "known", "memory_type": "semantic", "namespace": "a/b",
    "tags": ["drink"], "importance": 0.7, "confidence": 0.6, "metadata": {"cups": 2},
    "episode": "monday", "position": 3, "related": ["other"], "parents": [], "evidence": ["said"],
    "expires_at": "2036-01-01T00:00:00Z", "unique": False,
}  # fmt: skip
_CHANGES = [
    *sorted(_FIELDS.keys() - {"id", "unique", "tags"}),
    "add_tags",
    "remove_tags",
    "archived",
]
_CONDITIONS = [
    "namespace", "namespace_prefix", "memory_type", "tags_all", "tags_any", "tags_none",
    "minimum_importance", "minimum_confidence", "metadata", "episode", "created_from",
    "created_before", "updated_from", "include_archived", "include_expired", "nothing", "mode",
    "min_score", "weights", "diversity", "context", "accuracy",
]  # fmt: skip
_TURN = {
    "author": {"role": "user"}, "create_time": 1.7e9,
    "content": {"content_type": "text", "parts": ["When is tea?"]},
}  # fmt: skip
_FOREIGN: dict[str, Any] = {
    "chatgpt": [{"id": "c", "title": "Tea", "current_node": "m", "mapping": {
        "root": {"message": None, "parent": None}, "m": {"message": _TURN, "parent": "root"}}}],
    "claude": [{"uuid": "c", "name": "Tea", "chat_messages": [
        {"uuid": "m", "sender": "human", "text": "When is tea?", "content": [],
         "created_at": "2026-11-22T09:30:00Z"}]}],
    "mem0": {"results": [{"id": "1", "memory": "Tea is at four", "metadata": {"a": 1},
                          "categories": ["drink"], "created_at": "2026-11-22T09:30:00Z"}]},
    "graph": [{"type": "entity", "name": "tea", "entityType": "drink", "observations": ["hot"]},
              {"type": "relation", "from": "tea", "to": "cup", "relationType": "in"}],
    "jsonl": [_FIELDS, {"content": "and another"}],
    "text": "# Tea\n\nIs at four.\n\n- milk\n\n## Cups\n\nTwo.\n",
}  # fmt: skip


def _file(chance: random.Random, path: Path, data: bytes) -> Path:
    path.write_bytes(damaged(chance, data) if chance.random() < 0.25 else data)
    return path


def _zipped(chance: random.Random, path: Path) -> Path:
    zipped = path.with_suffix(".zip")
    with zipfile.ZipFile(zipped, "w", zipfile.ZIP_DEFLATED) as archive:
        name = chance.choice(
            ("conversations.json", "conversations-2.json", "../conversations.json")
        )
        zeros = b"[" + b" " * 3_000_000 + b"]" if chance.random() < 0.02 else b""
        archive.writestr(name, zeros or path.read_bytes())
    if chance.random() < 0.3:
        zipped.write_bytes(damaged(chance, zipped.read_bytes()))
    return zipped


def _framed(chance: random.Random, fields: Any) -> bytes:
    try:
        payload = codec.pack(fields)
    except (ValueError, OverflowError):  # what MessagePack cannot say, nobody sends
        payload = chance.randbytes(30)
    if chance.random() < 0.002:
        deep, wide = b"\xdc\xff\xff" * 1000 + b"\xc0" * (1 << 20), b"\x80" * (4 << 20)
        payload = chance.choice((deep, b"\xdd\x00\x40\x00\x00" + wide, b"\x91" * (1 << 20)))
    return enveloped(payload)


# How it is given


class _Given:
    """Gives one kind of input, round by round, and counts."""

    def __init__(self, give: Give, seed: int) -> None:
        self._give = give
        self._seed = seed
        self.taken = self.refused = self.most_bytes = 0

    async def give(self, memory: AgentMemory, number: int, folder: Path) -> None:
        """Give that of a round, and see that what was refused has changed nothing."""
        chance = random.Random(f"{self._seed}/{number}")
        told = f"seed {self._seed}, round {number}"
        looks = number % _LOOK_EVERY == 0
        before = _written(folder), looks and _content(folder)
        try:
            was_taken = bool(await self._give(memory, chance, folder))
        except ChrysalisError:
            was_taken = False
            self.refused += 1
        except Exception as error:
            raise AssertionError(f"{told}: {error!r}") from error
        self.taken += was_taken
        self.most_bytes = max(self.most_bytes, ram.most_bytes())
        same = before == (_written(folder), looks and _content(folder))
        assert was_taken or same, f"{told}: refused, and changed the file"


async def give_all(give: Give, rounds: int, seed: int, folder: Path) -> str:
    given = _Given(give, seed)
    before_bytes = 0
    for first in range(0, rounds, _ROUNDS_OF_A_FILE):
        own = Path(tempfile.mkdtemp(dir=folder))
        async with _opened(own) as memory:
            if first == 0:
                ram.count_most_anew()
                before_bytes = ram.most_bytes()
            for number in range(first, min(first + _ROUNDS_OF_A_FILE, rounds)):
                await given.give(memory, number, own)
            audit(memory.storage)
    grown = given.most_bytes - before_bytes
    assert grown <= MEMORY_BYTES_MAX, f"seed {seed}: {grown >> 20} MB of memory"
    return f"{given.refused:,} refused, {given.taken:,} taken, {max(grown, 0) >> 20} MB"


@asynccontextmanager
async def _opened(folder: Path) -> AsyncGenerator[AgentMemory]:
    path = folder / "memory.db"
    async with AgentMemory("ada", path=path, embedder="hashing", synchronous="NORMAL") as memory:
        await memory.learn("Tea is at four", id="known")
        for give in _KINDS.values():  # so that all that is imported late is there
            for number in range(20):
                try:
                    await give(memory, random.Random(number), folder)
                except ChrysalisError:
                    continue
        yield memory


def _written(folder: Path) -> list[tuple[int, int]]:
    stats = [(folder / f"memory.db{end}").stat() for end in ("", "-wal")]
    return [(one.st_mtime_ns, one.st_size) for one in stats]


def _content(folder: Path) -> list[str]:
    return [_digest(folder / f"memory.db{end}") for end in ("", "-wal")]


def _digest(path: Path) -> str:
    with path.open("rb") as file:  # a piece at a time: memory is counted
        return hashlib.file_digest(file, "blake2b").hexdigest()


_KINDS: dict[str, Give] = {"export": export, "foreign": foreign, "values": values, "frame": frame}


def _given(kind: str, rounds: int, seed: int, folder: str) -> str:
    return asyncio.run(give_all(_KINDS[kind], rounds, seed, Path(folder)))


def play(kind: str, rounds: int, seed: int, folder: Path) -> str:
    """Play rounds of one kind, in a process of their own, whose memory is theirs alone."""
    own = tempfile.mkdtemp(dir=folder)
    context = multiprocessing.get_context("spawn")
    with patch.dict(os.environ, _GIVES_BACK), ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(_given, kind, rounds, seed, own).result()


_SHORT = {"export": 3_000, "foreign": 2_000, "values": 5_000, "frame": 10_000}
RUNS = tuple(Run(f"fuzz-{kind}", n, n * 50, partial(play, kind)) for kind, n in _SHORT.items())
