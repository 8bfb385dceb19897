"""Erasing leaves no byte: files are filled, changed and synced, and then read byte for byte."""

import asyncio
import random
import sqlite3
import string
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from chrysalis_memory import Embedding, MemoryDocument, MemoryStorage
from chrysalis_memory.backends.sqlite.codes import code_of
from chrysalis_memory.backends.sqlite.vector_blobs import encode
from chrysalis_memory.replication import replicator
from chrysalis_memory.replication.replica import Replica
from chrysalis_memory.replication.transport import LocalTransport
from chrysalis_memory.state import tombstone
from chrysalis_memory.storage import Session
from tests.faults.audit import audit
from tests.faults.residue import traces
from tests.faults.runs import Run

_DIMENSION = 128
_SPACE = "faults/128"
_LETTERS = string.ascii_lowercase + string.digits
_OTHER = """
import sys
from chrysalis_memory import MemoryDocument, MemoryStorage
with MemoryStorage(sys.argv[1], "other") as storage:
    storage.put(MemoryDocument(id=sys.argv[2], content=sys.argv[3]))
"""

Erase = Callable[[MemoryStorage, list[str]], None]


@dataclass
class Secrets:
    """All that was ever written of one memory."""

    texts: list[str] = field(default_factory=list[str])
    blobs: list[bytes] = field(default_factory=list[bytes])


class Filling:
    """A file with memories of words that occur nowhere else."""

    def __init__(self, storage: MemoryStorage, chance: random.Random) -> None:
        self.storage = storage
        self.chance = chance
        self.written: dict[str, Secrets] = {}
        self.alive: list[str] = []
        self._stems = [self.word() for _ in range(3)]

    def word(self) -> str:
        length = self.chance.randint(9, 16)
        return self.chance.choice(string.ascii_letters) + "".join(
            self.chance.choices(_LETTERS, k=length)
        )

    def text(self, secrets: Secrets) -> str:
        # Words that begin alike have FTS5 keep long beginnings of them.
        stem = self.word() if self.chance.random() < 0.3 else ""
        words = [stem + self.word() for _ in range(self.chance.choice([3, 10, 40, 300]))]
        secrets.texts += words
        return " ".join(words)

    def learn(self) -> None:
        secrets, memory_id = Secrets(), f"m{len(self.written)}"
        document = MemoryDocument(id=memory_id, content=self.text(secrets))
        tag, key, value, episode = (self.word() for _ in range(4))
        document.add_tag(tag)
        document.set_metadata({key: value})
        document.set_episode(episode)
        document.add_evidence(tag + value)
        secrets.texts += [tag, key, value, episode]
        self.storage.put(document, self._embedding(document.content, secrets))
        self.written[memory_id] = secrets
        self.alive.append(memory_id)

    def _embedding(self, text: str, secrets: Secrets) -> Embedding:
        vector = np.random.default_rng(self.chance.getrandbits(32)).normal(size=_DIMENSION)
        vector = (vector / np.linalg.norm(vector)).astype(np.float32)
        code = code_of(vector)
        secrets.blobs += [encode(vector, "float32"), encode(vector, "int8"), code]
        return Embedding(vector.tolist(), _SPACE, text)

    def edit(self) -> None:
        memory_id = self.chance.choice(self.alive)
        secrets = self.written[memory_id]
        text = self.text(secrets)

        def change(document: MemoryDocument) -> None:
            document.set_content(text)
            for tag in document.get_tags()[:1]:
                document.remove_tag(tag)
            secrets.texts.append(self.word())
            document.add_tag(secrets.texts[-1])

        self.storage.update(memory_id, change)

    def keep_tokens(self) -> None:
        memory_id = self.chance.choice(self.alive)
        packed = self.chance.randbytes(64)
        (space,) = self.storage.spaces()
        document = self.storage.get(memory_id)
        number = self.storage.read(lambda session: session.load(memory_id).number)
        text_hash = Embedding([1.0], "m", document.content).text_hash
        self.storage.put_tokens(space, [(number, text_hash, packed)])
        self.written[memory_id].blobs.append(packed)

    def read(self) -> None:
        document = self.storage.get(self.chance.choice(self.alive))
        self.storage.record_access({document.id: 1})
        self.storage.find(limit=5)

    def other_process(self) -> None:
        secrets, memory_id = Secrets(), f"m{len(self.written)}"
        given = (str(self.storage.path), memory_id, self.text(secrets))
        subprocess.run([sys.executable, "-c", _OTHER, *given], check=True, timeout=60)
        self.written[memory_id] = secrets
        self.alive.append(memory_id)

    def play(self) -> None:
        self.learn()
        for _ in range(self.chance.randint(10, 60)):
            step = self.chance.random()
            if step < 0.7:
                self.learn()
            elif step < 0.85:
                self.edit()
            elif step < 0.9:
                self.keep_tokens()
            elif step < 0.97 or len(self.alive) < 2:
                self.read()
            else:
                self.storage.forget(self.alive.pop(self.chance.randrange(len(self.alive))))
        if self.chance.random() < 0.1:
            self.other_process()

    def choose(self) -> list[str]:
        """Return some that are alive and, at times, all that were forgotten before."""
        count = self.chance.randint(1, max(1, len(self.alive) // 2))
        chosen = self.chance.sample(self.alive, count)
        self.alive = [one for one in self.alive if one not in chosen]
        before = [one for one in self.written if one not in self.alive and one not in chosen]
        return chosen + before


def _erase(storage: MemoryStorage, memory_ids: list[str]) -> None:
    storage.erase(*memory_ids)


def _round(seed: int, folder: Path, erase: Erase) -> int:
    """Fill, sync, erase, sync; return how many memories were erased."""
    chance = random.Random(seed)
    here, there = folder / "here", folder / "there"
    with MemoryStorage(here / "memory.db", "a@here", synchronous="NORMAL") as storage:
        other = MemoryStorage(there / "memory.db", "a@there", synchronous="NORMAL")
        filling = Filling(storage, chance)
        filling.play()
        _sync(storage, other)
        filling.play()
        if chance.random() < 0.5:
            _sync(storage, other)
        chosen = filling.choose()
        erase(storage, chosen)
        gone = [filling.written[one] for one in filling.written if one not in filling.alive]
        _check(here, filling, gone)
        _sync(storage, other)
        other.close()  # what a sync leaves for later, because it cleaned not long ago, is done now
        _check(there, filling, gone)
        with MemoryStorage(there / "memory.db", "a@there") as other:
            for one in (storage, other):
                audit(one)
                assert sorted(document.id for document in one.all()) == sorted(filling.alive)
                _found_by_words(one, filling)
        states = [document.state for document in storage.states() if document.id in chosen]
        assert states == [tombstone(2)] * len(chosen)
    return len(chosen)


def _check(folder: Path, filling: Filling, gone: list[Secrets]) -> None:
    kept = [filling.written[one] for one in filling.alive]
    found = traces(
        folder,
        [text for one in gone for text in one.texts],
        [blob for one in gone for blob in one.blobs],
        [part for one in kept for part in (*one.texts, *one.blobs)],
    )
    assert not found, f"{len(found)} traces, such as {found[:3]}"


def _found_by_words(storage: MemoryStorage, filling: Filling) -> None:
    for memory_id in filling.alive:
        word = storage.get(memory_id).content.split()[0]
        number = storage.read(lambda s, one=memory_id: s.load(one).number)
        assert storage.read(lambda s, w=word: _numbers(s, w)) == [number]


def _numbers(session: Session, word: str) -> list[int]:
    from chrysalis_memory.backends.base import WeightedTerm
    from chrysalis_memory.query import Filter, Query

    found = session.best_by_words(
        [WeightedTerm(session.term(word), 1.0)], Query(Filter(), 0), limit=5
    )
    return [number for number, _ in found]


def _sync(storage: MemoryStorage, other: MemoryStorage) -> None:
    asyncio.run(replicator.sync(Replica(storage), LocalTransport(Replica(other))))


def play(rounds: int, seed: int, folder: Path, erase: Erase = _erase) -> str:
    """Play rounds of erasing; each is a fresh pair of replicas."""
    erased = 0
    for number in range(seed, seed + rounds):
        try:
            erased += _round(number, folder / str(number), erase)
        except AssertionError as error:
            raise AssertionError(f"seed {number}: {error}") from error
    return f"{erased:,} memories erased, no byte of them left"


def plainly_deleted(seed: int, folder: Path) -> int:
    """Return how many traces plain SQLite leaves of the words of rows that it deletes."""
    chance = random.Random(seed)
    words = ["".join(chance.choices(_LETTERS, k=20)) for _ in range(500)]
    with closing(sqlite3.connect(folder / "plain.db")) as database:
        database.execute("PRAGMA secure_delete = OFF")
        database.execute("CREATE TABLE memory (content TEXT)")
        database.executemany("INSERT INTO memory VALUES (?)", [(word,) for word in words])
        database.commit()
        database.execute("DELETE FROM memory")
        database.commit()
    return len(traces(folder, words, [], []))


RUNS = (Run("erasure", 20, 500, play),)
