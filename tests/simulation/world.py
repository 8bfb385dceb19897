"""A world of replicas, in which one random number generator decides everything."""

import shutil
from itertools import count, pairwise
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import NamedTuple
from unittest import mock

from chrysalis_memory import MemoryStorage, identity
from chrysalis_memory.errors import ReplicationError
from chrysalis_memory.replication.messages import EPOCH_BYTES
from chrysalis_memory.replication.protocol import Ask
from tests.simulation import operations
from tests.simulation.checks import check_same
from tests.simulation.network import Letter, OpenSync, deliver, run_through
from tests.simulation.node import Held, Mismatch, Node, files_of
from tests.simulation.truth import History

START_US = 1_800_000_000_000_000
YEAR_9999_US = 253_380_000_000_000_000 - START_US
HOUR_US = 3_600_000_000
NODES_MAX = 6
ROUNDS_MAX = 6
WRITES_MAX = 20
WRITERS = ("ann", "bob", "ann", "cay", "dan", "bob")
"""The name each replica writes under; some share one and do not know."""
PAUSES_US = (0, 0, 1, 1_000, 1_000_000, 60_000_000, 600_000_000, HOUR_US)
OFFSETS_US = (0, 0, 0, 2_000_000, -HOUR_US, HOUR_US)


class Backup(NamedTuple):
    """A copy of a replica's file that was put aside."""

    path: Path
    held: Held


class World:
    """Replicas, their clocks, what is under way between them, and what happened.

    Args:
        seed: Decides everything.
        folder: An empty folder for the files.
        template: The file of an empty store, copied for every replica.
    """

    def __init__(self, seed: int, folder: Path, template: Path) -> None:
        self.random = Random(seed)
        self.folder, self.template = folder, template
        self.history = History()
        self.base_us = START_US
        self.trace: list[str] = []
        self.nodes: list[Node] = []
        self.syncs: list[OpenSync] = []
        self.late: list[tuple[Node, Letter]] = []
        self.apart: set[frozenset[int]] = set()
        self.backups: dict[int, Backup] = {}
        self.was_restored_in_place = False
        self._numbers = count()
        self._counters = count()
        # Each seed knows only some of all troubles: what goes wrong alone shows more clearly.
        self._troubles = [
            (event, weight)
            for events, weight in (
                ((self._crash,), 3), ((self._kill,), 2), ((self._copy_file,), 1),
                ((self._partition,), 3), ((self._set_clock,), 3),
                ((self._back_up, self._restore), 4), ((self._back_up, self._restore_in_place), 6),
            )
            if self.random.random() < 0.5
            for event in events
        ]  # fmt: skip
        # Where time stands still, stamps are equal time and again.
        stands_still = self.random.random() < 0.25
        self._pauses_us = (0,) if stands_still else PAUSES_US
        self._offsets_us = (0,) if stands_still else OFFSETS_US
        self._is_lossy = self.random.random() < 0.6

    # Running

    def run(self) -> None:
        """Live through one history, heal, and check what is left.

        Raises:
            AssertionError: something is not as it must be.
            ChrysalisError: something failed that may not.
        """
        for _ in range(self.random.choice((3, 3, 3, 4, 4, 5))):
            path = self._new_path()
            shutil.copyfile(self.template, path)
            self._add(path, self.random.choice(self._offsets_us))
        for _ in range(self.random.randint(32, 64)):
            self._tick()
        self._heal()

    def close(self) -> None:
        for node in self.nodes:
            node.storage.close()

    def _tick(self) -> None:
        self.base_us += self.random.choice(self._pauses_us)
        chance = self.random.random()
        if chance < 0.42:
            self._act()
        elif chance < 0.52 or not self.syncs:
            self._begin_sync()
        elif chance < 0.85:
            self._advance()
        elif self.late and chance < 0.88:
            self._deliver_late()
        elif self._troubles:
            events, weights = zip(*self._troubles, strict=True)
            self.random.choices(events, weights)[0]()

    def say(self, text: str) -> None:
        """Note what happens."""
        self.trace.append(text)

    def _node(self) -> Node:
        return self.random.choice(self.nodes)

    def _new_path(self) -> Path:
        return self.folder / f"{next(self._numbers)}.db"

    def _add(self, path: Path, offset_us: int) -> Node:
        number = len(self.nodes)
        node = Node(
            number, path, WRITERS[number], self.history, lambda: self.base_us,
            lambda: next(self._counters), self.say,
        )  # fmt: skip
        node.offset_us = offset_us
        self.nodes.append(node)
        self.say(f"{node.name} opens as {node.writer}, clock off by {offset_us} us")
        return node

    def _act(self, node: Node | None = None) -> None:
        node = node or self._node()
        name, memory_id = operations.act(self.random, node)
        self.say(f"{node.name}: {name}: {memory_id}")
        node.check(memory_id)

    # Syncs

    def renewals(self) -> int:
        """Return how often a store took a new name because a peer had seen more of it."""
        return sum(node.renewals for node in self.nodes)

    def _begin_sync(self, *pair: Node) -> None:
        node, peer = pair or self.random.sample(self.nodes, 2)
        self.say(f"{node.name} begins a sync with {peer.name}")
        self.syncs.append(OpenSync(node, peer))
        self._advance(self.syncs[-1])

    def _advance(self, sync: OpenSync | None = None) -> None:
        sync = sync or self.random.choice(self.syncs)
        for _ in range(self.random.choice((1, 2, 4, 8, 30))):
            try:
                goes_on = self._step(sync)
            except ReplicationError as error:
                if sync.incarnations == sync.begun:
                    raise
                self.say(f"{sync.node.name} -> {sync.peer.name} fails after a restore: {error}")
                goes_on = False
            if not goes_on:
                self._end(sync)
                return

    def _end(self, sync: OpenSync) -> None:
        sync.close()
        if sync in self.syncs:
            self.syncs.remove(sync)
        if self.renewals() and not self.was_restored_in_place:
            raise Mismatch(f"{sync.node.name} or {sync.peer.name} took a new name without a reason")
        # A peer that is restored while it answers gives an older state than it has just shown.
        is_due = self.was_restored_in_place or sync.incarnations != sync.begun
        if sync.report.repaired and not is_due:
            raise Mismatch(
                f"{sync.node.name} -> {sync.peer.name} had to repair {sync.report.repaired} "
                "buckets: a cursor has passed something that was not merged"
            )

    def _step(self, sync: OpenSync) -> bool:
        """Do one step of a sync; tell whether it goes on."""
        step = sync.next()
        way = f"{sync.node.name} -> {sync.peer.name}"
        if step is None:
            self.say(f"{way} ends: {sync.report}")
            return False
        if not isinstance(step, Ask):
            sync.do(step)
            self.say(f"{way} {type(step).__name__}")
            return True
        letter = sync.letter(step)
        fate = self._fate(sync)
        self.say(f"{way} {letter.kind} of {len(letter.frame)} bytes: {fate}")
        if fate in ("lost", "cut"):
            return False
        if fate in ("twice", "late"):
            self.late.append((sync.peer, letter))
        if fate == "twice":
            self._deliver_late(len(self.late) - 1)
        answer = deliver(sync.peer, letter)
        if fate == "answer lost":
            return False
        sync.hear(step, *answer)
        return True

    def _fate(self, sync: OpenSync) -> str:
        if frozenset((sync.node.number, sync.peer.number)) in self.apart:
            return "cut"
        if not self._is_lossy:
            return "arrives"
        fates = ("arrives", "lost", "answer lost", "twice", "late")
        return self.random.choices(fates, (86, 3, 3, 4, 4))[0]

    def _deliver_late(self, at: int | None = None) -> None:
        at = self.random.randrange(len(self.late)) if at is None else at
        peer, letter = self.late.pop(at)
        self.say(f"{peer.name} gets a {letter.kind} that nobody waits for")
        try:
            deliver(peer, letter)
        except ReplicationError as error:
            if not any(node.incarnation for node in self.nodes):
                raise
            self.say(f"{peer.name} refuses it: {error}")

    # Troubles

    def _drop_syncs_of(self, node: Node) -> None:
        for sync in [sync for sync in self.syncs if sync.node is node]:
            self._end(sync)

    def _crash(self) -> None:
        node = self._node()
        self.say(f"{node.name} closes and opens")
        self._drop_syncs_of(node)
        node.crash(kill=False)

    def _kill(self) -> None:
        node = self._node()
        self.say(f"{node.name} is killed")
        self._drop_syncs_of(node)
        node.crash(kill=True)

    def _back_up(self) -> None:
        node = self._node()
        if node.number in self.backups and self.random.random() < 0.7:
            return
        path = self._new_path()
        node.storage.backup(path)
        self.backups[node.number] = Backup(path, node.held.copy())
        self.say(f"{node.name} is backed up")

    def _restore(self, *, in_place: bool = False) -> None:
        lost = [
            number
            for number, backup in sorted(self.backups.items())
            if self._has_told_more(self.nodes[number], backup.held)
        ]
        if not lost:
            return
        number = self.random.choice(lost)
        node, backup = self.nodes[number], self.backups[number]
        self.was_restored_in_place = self.was_restored_in_place or in_place
        self.say(f"{node.name} is restored{' in place' if in_place else ''}")
        self._drop_syncs_of(node)
        reached = _place(node)[1]
        node.restore(*backup, in_place=in_place)
        if in_place and self.random.random() < 0.7:
            self._write_over(node, reached)

    def _write_over(self, node: Node, reached: int) -> None:
        """Write as much anew as was lost, and let another ask first: no cursor tells it now."""
        for _ in range(WRITES_MAX):
            if _place(node)[1] >= reached:
                break
            self._act(node)
        cursors = [(one.replica.record(node.name).pulled, one.number) for one in self.nodes]
        asked = [self.nodes[number] for cursor, number in cursors if cursor[EPOCH_BYTES:]]
        if asked:
            self._sync([(self.random.choice(asked), node)])

    def _restore_in_place(self) -> None:
        self._restore(in_place=True)

    def _has_told_more(self, node: Node, before: Held) -> bool:
        """Tell whether others know of something that the replica did not hold at a time before."""
        return any(
            other.held.known.get(memory_id, 0) & known & ~before.known.get(memory_id, 0)
            for other in self.nodes
            if other is not node
            for memory_id, known in node.held.known.items()
        )

    def _copy_file(self) -> None:
        if len(self.nodes) == NODES_MAX:
            return
        source = self._node()
        path = self._new_path()
        for one, data in files_of(source.path).items():
            path.with_name(one.name.replace(source.path.name, path.name)).write_bytes(data)
        self.say(f"{source.name} is copied")
        node = self._add(path, source.offset_us)
        node.writer = source.writer
        node.storage.instance = source.writer
        node.held = source.held.copy()
        node.moved_in()

    def _partition(self) -> None:
        if self.apart and self.random.random() < 0.4:
            self.apart.clear()
            self.say("every replica reaches every other")
            return
        first, second = self.random.sample(range(len(self.nodes)), 2)
        self.apart.add(frozenset((first, second)))
        self.say(f"replica-{first} and replica-{second} cannot reach one another")

    def _set_clock(self) -> None:
        node = self._node()
        node.offset_us = self.random.choice((0, 0, HOUR_US, -HOUR_US, YEAR_9999_US))
        self.say(f"{node.name} sets its clock off by {node.offset_us} us")

    # The end

    def _heal(self) -> None:
        self.say("all is well again")
        for sync in list(self.syncs):
            self._end(sync)
        while self.late:
            self._deliver_late()
        for node in self.nodes:
            node.check_all()
        stamps = [w.stamp for writes in self.history.writes.values() for w in writes]
        self.base_us = max([self.base_us, *stamps]) + HOUR_US
        for node in self.nodes:
            node.offset_us = 0
        self._sync_all()
        check_same(self.nodes, self.base_us)

    def _sync_all(self) -> None:
        ring = self.random.sample(self.nodes, len(self.nodes))
        there = list(pairwise(ring))
        self._sync(there)
        self._sync([(peer, node) for node, peer in reversed(there)])
        everybody = [*there, (ring[-1], ring[0])]
        for _ in range(ROUNDS_MAX):
            before = [_place(node) for node in self.nodes]
            verified = self._sync(everybody)
            if [_place(node) for node in self.nodes] == before:
                break
        else:
            raise Mismatch(f"replicas still change after {ROUNDS_MAX} rounds of syncs")
        if not all(verified):
            raise Mismatch(f"nothing changes, and the last syncs verified {verified}")

    def _sync(self, pairs: list[tuple[Node, Node]]) -> list[bool | None]:
        verified: list[bool | None] = []
        for node, peer in pairs:
            sync = OpenSync(node, peer)
            sync.report = run_through(node, peer)
            self.say(f"{node.name} -> {peer.name}: {sync.report}")
            self._end(sync)
            verified.append(sync.report.verified)
        return verified


def _place(node: Node) -> tuple[str | None, int]:
    return node.storage.read(lambda s: (s.meta("epoch"), s.last_change()))


def seeded_identities(seed: int) -> "mock._patch[SimpleNamespace]":
    """Make replica ids and epochs follow from a seed."""
    random = Random(f"identities of {seed}")
    source = SimpleNamespace(token_hex=lambda size: random.randbytes(size).hex())
    return mock.patch.object(identity, "secrets", source)


def make_template(path: Path) -> Path:
    """Write the file of an empty store."""
    MemoryStorage(path, synchronous="NORMAL").close()
    return path
