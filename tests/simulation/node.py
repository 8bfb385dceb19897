"""A replica of the simulation: a real store, and what it must hold by the history of writes."""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from chrysalis_memory import HybridLogicalClock, MemoryDocument, MemoryStorage
from chrysalis_memory.changes import Header
from chrysalis_memory.crdt.clock import DRIFT_US
from chrysalis_memory.errors import MemoryForgotten
from chrysalis_memory.learning import NewMemory, learn
from chrysalis_memory.replication.replica import Replica
from tests.simulation.fields import Change, apply_change, parts, shown
from tests.simulation.truth import History, View, Write

SIDE_FILES = ("-wal", "-shm")


class Mismatch(AssertionError):
    """A store does not hold what it must."""


class NotingClock(HybridLogicalClock):
    """A clock that notes what it gave, so that the history knows every stamp."""

    def __init__(self, wall_us: Callable[[], int]) -> None:
        super().__init__(wall_us)
        self.given: list[int] = []

    def now(self, *, above: int = 0) -> int:
        """See :meth:`HybridLogicalClock.now`."""
        stamp = super().now(above=above)
        self.given.append(stamp)
        return stamp


class Held(NamedTuple):
    """What a file holds: a backup has one of its own."""

    known: dict[str, int]
    """The writes known of each memory."""
    apart: list[tuple[str, int]]
    """States in quarantine."""
    counter: int
    """The name under which uses are counted."""
    place: tuple[Path, int]
    """Where the file was used: its path, and how often it was replaced by another there."""

    def copy(self) -> "Held":
        return self._replace(known=dict(self.known), apart=list(self.apart))


class Node:
    """One replica.

    Args:
        number: Its number in the world.
        path: Its file.
        writer: The name it writes under.
        history: Where its writes are noted.
        base_us: The true time, in microseconds since 1970.
        next_counter: Gives a new name for counting uses.
        say: Told what happens.
    """

    def __init__(
        self,
        number: int,
        path: Path,
        writer: str,
        history: History,
        base_us: Callable[[], int],
        next_counter: Callable[[], int],
        say: Callable[[str], None],
    ) -> None:
        self.number, self.path, self.writer, self.history = number, path, writer, history
        self._base_us, self._next_counter, self.say = base_us, next_counter, say
        self.offset_us = 0
        self.place = (path, 0)
        self.held = Held({}, [], next_counter(), self.place)
        self.incarnation = 0
        self.renewals = 0
        self.open()

    @property
    def name(self) -> str:
        return f"replica-{self.number}"

    def wall_us(self) -> int:
        return self._base_us() + self.offset_us

    @property
    def horizon(self) -> int:
        return self.wall_us() + DRIFT_US

    # The file

    def open(self) -> None:
        self.clock = NotingClock(self.wall_us)
        self.storage = MemoryStorage(self.path, self.writer, synchronous="NORMAL", clock=self.clock)
        self.replica = Replica(self.storage)
        self._counting_as = self.storage.replica

    def crash(self, *, kill: bool) -> None:
        """Close the file and open it again, or go on from what a kill would have left of it."""
        left = files_of(self.path) if kill else {}
        self.storage.close()
        for path, data in left.items():
            with path.open("r+b" if path.exists() else "wb") as file:
                file.truncate()
                file.write(data)
        self.open()

    def restore(self, backup: Path, held: Held, *, in_place: bool) -> None:
        """Put an older backup where the file is: over the same inode, or as a file of its own."""
        self.storage.close()
        for side in SIDE_FILES:
            self.path.with_name(self.path.name + side).unlink(missing_ok=True)
        self.held = held.copy()
        if in_place:
            with self.path.open("r+b") as file:
                file.truncate()
                file.write(backup.read_bytes())
        else:
            # What was there stays under another name, so that its inode is not used again.
            self.path.rename(self.path.with_name(f"{self.path.name}.{self.place[1]}"))
            shutil.copyfile(backup, self.path)
            self.place = (self.path, self.place[1] + 1)
        self.incarnation += 1
        self.open()
        self.moved_in()

    def moved_in(self) -> None:
        """Note that the store must know by its place whether it is a copy."""
        if self.held.place != self.place:
            self.held = self.held._replace(counter=self._next_counter(), place=self.place)

    def note_identity(self) -> None:
        """Notice whether the store took a new identity because a peer had seen more of it."""
        if self.storage.replica != self._counting_as:
            self._counting_as = self.storage.replica
            self.held = self.held._replace(counter=self._next_counter())
            self.renewals += 1
            self.say(f"{self.name} was told that it lost something and takes a new name")

    # What it must hold

    def view(self, memory_id: str) -> View:
        return self.history.view(memory_id, self.held.known.get(memory_id, 0))

    def merged(self, memory_id: str, known: int) -> None:
        """Note that a state was merged, or kept apart if it lies in the future."""
        if self.history.view(memory_id, known).stamp > self.horizon:
            if (memory_id, known) not in self.held.apart:
                self.held.apart.append((memory_id, known))
        else:
            self.held.known[memory_id] = self.held.known.get(memory_id, 0) | known

    def released(self) -> None:
        """Note that what has become valid was merged."""
        for one in list(self.held.apart):
            if self.history.view(*one).stamp <= self.horizon:
                self.held.apart.remove(one)
                self.merged(*one)

    def _drop_void(self) -> None:
        """Note that nothing is kept apart of a life that is over."""
        self.held.apart[:] = [
            one for one in self.held.apart
            if self.history.view(*one).life >= self.view(one[0]).life
        ]  # fmt: skip

    def digests(self, headers: Sequence[Header]) -> dict[str, bytes]:
        """Return the digests that the store holds of what headers name."""
        ids = [header.id for header in headers]
        held = self.storage.read(lambda session: session.load_many(ids)) if ids else []
        return {header.id: header.digest for header, _ in held}

    def took(
        self, headers: Sequence[Header], known: dict[str, int], before: dict[str, bytes]
    ) -> None:
        """Note that use counts were merged where headers show the state that is held."""
        for header in headers:
            if before.get(header.id) == header.digest:
                counted = self.history.access_among(header.id, known[header.id])
                self.held.known[header.id] |= counted

    # Writing

    def note(self, memory_id: str, change: Change, stamp: int, *, life: int, seen: int) -> int:
        write = Write(*change, stamp, self.writer, life, seen)
        bit = self.history.note(memory_id, write)
        self.held.known[memory_id] = self.held.known.get(memory_id, 0) | bit
        return bit

    def change(self, memory_id: str, changes: Sequence[Change]) -> None:
        """Change a memory; one that is forgotten must refuse."""
        view = self.view(memory_id)
        stamps: list[int] = []

        def apply(memory: MemoryDocument) -> None:
            for change in changes:
                stamps.extend(self._applied(memory, change))

        try:
            self.storage.update(memory_id, apply)
        except MemoryForgotten:
            if view.alive:
                raise
            return
        if not view.alive:
            raise Mismatch(f"{memory_id} is forgotten and was changed")
        self._note_all(memory_id, changes, stamps, life=view.life)

    def _note_all(
        self,
        memory_id: str,
        changes: Sequence[Change],
        stamps: Sequence[int],
        *,
        life: int,
        seen: int | None = None,
    ) -> None:
        seen = self.held.known.get(memory_id, 0) if seen is None else seen
        written = [part for change in changes for part in parts(change)]
        for change, stamp in zip(written, stamps, strict=True):
            seen |= self.note(memory_id, change, stamp, life=life, seen=seen)

    def _applied(self, memory: MemoryDocument, change: Change) -> list[int]:
        given = len(self.clock.given)
        apply_change(memory, *change)
        return self.clock.given[given:]

    def blind(self, memory_id: str, content: str, changes: Sequence[Change]) -> None:
        """Put a document that knows nothing but the id."""
        view = self.view(memory_id)
        memory = MemoryDocument(memory_id, content, None, self.writer, clock=self.clock)
        stamps = [self.clock.given[-1]] * 2
        for change in changes:
            stamps += self._applied(memory, change)
        try:
            self.storage.put(memory)
        except MemoryForgotten:
            if view.alive or not view.life:
                raise
            return
        if view.life and not view.alive:
            raise Mismatch(f"{memory_id} is forgotten and was written blindly")
        first = [("created", None, None), ("content", None, content)]
        self._note_all(memory_id, [*first, *changes], stamps, life=1, seen=0)

    def forget(self, memory_id: str) -> None:
        view = self.view(memory_id)
        if self.storage.forget(memory_id) != view.alive:
            raise Mismatch(f"forgetting {memory_id}: it should have been of life {view.life}")
        if view.alive:
            seen = self.held.known[memory_id]
            self.note(memory_id, ("forget", None, None), 0, life=view.life + 1, seen=seen)

    def use(self, memory_id: str, count: int) -> None:
        self.storage.record_access({memory_id: count})
        view, known = self.view(memory_id), self.held.known[memory_id]
        if view.alive:
            counted = [
                write.value
                for at, write in enumerate(self.history.writes[memory_id])
                if known >> at & 1
                and (write.field, write.key, write.life) == ("access", self.held.counter, view.life)
            ]
            total = max(counted, default=0) + count
            change = ("access", self.held.counter, total)
            self.note(memory_id, change, 0, life=view.life, seen=known)

    def learn(self, new: NewMemory) -> str:
        """Learn something; what that writes follows from what must be known."""
        given = len(self.clock.given)
        memory_id = self.storage.submit(lambda t: learn(t, new, None)).result().id
        stamps = self.clock.given[given:]
        if memory_id != self._id_of(new):
            raise Mismatch(f"{new.content!r} was learned as {memory_id}, not {self._id_of(new)}")
        view = self.view(memory_id)
        if view.alive:
            self._note_all(memory_id, self._joining(new, view), stamps, life=view.life)
        else:
            changes = [("content", None, new.content), *_told(new, view)]
            seen = self.held.known.get(memory_id, 0)
            life = view.life + 1
            seen |= self.note(memory_id, ("created", None, None), stamps[0], life=life, seen=seen)
            self._note_all(memory_id, changes, stamps, life=life, seen=seen)
        return memory_id

    def _id_of(self, new: NewMemory) -> str:
        attempt = 0
        while new.id is None:
            view = self.view(new.derived_id(attempt))
            if not view.alive or view.fields["content"] == new.content:
                return new.derived_id(attempt)
            attempt += 1
        return new.id

    def _joining(self, new: NewMemory, view: View) -> list[Change]:
        changes: list[Change] = []
        if new.content != view.fields["content"]:
            changes.append(("content", None, new.content))
        changes += [c for c in _told(new, view) if c[0] == "importance"]
        expiry = view.fields["expires_at"]
        if expiry is not None and expiry <= self.wall_us():
            changes.append(("expires_at", None, None))
        if view.fields["archived"]:
            changes.append(("archived", None, False))
        return changes + [c for c in _told(new, view) if c[0] != "importance"]

    # Looking

    def check(self, memory_id: str) -> None:
        """Compare what the store holds of a memory with what it must.

        Raises:
            Mismatch: they differ.
        """
        view = self.view(memory_id)
        stored = self.storage.read(lambda session: session.load(memory_id))
        memory = None if stored is None else self.storage.document(stored)
        life = 0 if memory is None else memory.state.life
        fields = {} if memory is None or memory.is_forgotten else shown(memory)
        if (life, fields) != (view.life, view.fields):
            differs = [k for k in view.fields | fields if view.fields.get(k) != fields.get(k)]
            raise Mismatch(
                f"{self.name} holds {memory_id} with life {life}, expected {view.life}; "
                + "; ".join(
                    f"{k}: {fields.get(k)!r}, expected {view.fields.get(k)!r}" for k in differs
                )
            )

    def check_all(self) -> None:
        """Compare everything; see :meth:`check`."""
        for memory_id in self.held.known:
            self.check(memory_id)
        found = self.storage.read(lambda session: session.quarantined())
        apart = {(one.id, one.stamp) for one in found}
        self._drop_void()
        expected = {(one[0], self.history.view(*one).stamp) for one in self.held.apart}
        if apart != expected:
            raise Mismatch(f"{self.name} keeps apart {sorted(apart)}, expected {sorted(expected)}")


def _told(new: NewMemory, view: View) -> list[Change]:
    """Return what learning writes of importance, tags and evidence."""
    known = view.fields
    changes: list[Change] = []
    if new.importance is not None and new.importance > known.get("importance", -1.0):
        changes.append(("importance", None, new.importance))
    changes += [("tag", tag, None) for tag in new.tags if tag not in known.get("tags", ())]
    return changes + [("evidence", one, None) for one in new.evidence]


def files_of(path: Path) -> dict[Path, bytes]:
    """Return the bytes of a database and of its write-ahead log, as a kill would leave them."""
    both = (path, path.with_name(path.name + SIDE_FILES[0]))
    return {one: one.read_bytes() for one in both if one.exists()}
