"""Histories that property tests draw: few writers, tiny clocks, partial merges, old copies.

Three replicas write one memory. Stamps come from 1 to 4, so that ties are the rule; two replicas
share one writer name; a replica may fall back to any state it had before, as a restored backup
does, or be overwritten blindly by a document that knows only the id.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from hypothesis import HealthCheck, note, settings
from hypothesis import strategies as st

from chrysalis_memory import HybridLogicalClock, MemoryDocument

LAWS = settings(
    deadline=None,
    derandomize=True,
    max_examples=200,
    suppress_health_check=[HealthCheck.too_slow],
)
"""The same examples on every run and no time limits: a failure is never chance."""

MEMORY_ID = "memory"
REPLICAS = (0, 1, 2)
WRITERS = ("ann", "bob", "ann")
"""The writer of each replica; the first and the last do not know that they share a name."""
WALLS = (1, 2, 3, 4)
TAGS = ("red", "blue")

CHANGES: tuple[tuple[str, tuple[Any, ...]], ...] = (
    ("add_tag", ("red",)),
    ("add_tag", ("blue",)),
    ("remove_tag", ("red",)),
    ("remove_tag", ("blue",)),
    ("set_importance", (0.2,)),
    ("set_importance", (0.9,)),
    ("set_confidence", (0.1,)),
    ("set_confidence", (0.8,)),
    ("set_content", ("tea",)),
    ("set_content", ("coffee",)),
    ("set_memory_type", ("episodic",)),
    ("set_memory_type", ("working",)),
    ("set_namespace", ("",)),
    ("set_namespace", ("user/ann",)),
    ("set_episode", (None,)),
    ("set_episode", ("talk", 1)),
    ("set_expires_at", (None,)),
    ("set_expires_at", (datetime(2030, 1, 1, tzinfo=UTC),)),
    ("set_archived", (True,)),
    ("set_archived", (False,)),
    ("set_metadata", ({"key": 1},)),
    ("set_metadata", ({"key": True},)),
    ("set_metadata", ({"key": None, "other": [1.0, "ü"]},)),
    ("add_related", ("other-memory",)),
    ("add_parent", ("parent-memory",)),
    ("add_evidence", ("a letter",)),
    ("add_evidence", ("a photograph",)),
    ("record_access", ("laptop",)),
    ("record_access", ("server", 2)),
)
"""Method and arguments of every kind of change a document knows, but forgetting."""


class Change(NamedTuple):
    """A replica changes its copy while its wall clock shows ``wall``."""

    replica: int
    wall: int
    method: str
    arguments: tuple[Any, ...]


class Merge(NamedTuple):
    """A replica merges what another one holds."""

    replica: int
    source: int


class Restore(NamedTuple):
    """A replica falls back to the state it had ``age`` steps ago and continues from there."""

    replica: int
    age: int


class Blind(NamedTuple):
    """A document that knows only the id is put into a replica."""

    replica: int
    wall: int
    content: str
    tag: str


class Forget(NamedTuple):
    """A replica forgets the memory."""

    replica: int


class Revive(NamedTuple):
    """A replica learns a forgotten memory again, on purpose."""

    replica: int
    wall: int


Step = Change | Merge | Restore | Blind | Forget | Revive


def clock_at(wall: int) -> HybridLogicalClock:
    """Return a new clock whose wall time stands still."""
    return HybridLogicalClock(wall_us=lambda: wall)


def fresh(replica: int, wall: int, content: str = "water") -> MemoryDocument:
    """Return a document as a replica writes it without knowing any other."""
    writer = WRITERS[replica]
    return MemoryDocument(MEMORY_ID, content, source_instance=writer, clock=clock_at(wall))


def opened(document: MemoryDocument, replica: int, wall: int) -> MemoryDocument:
    """Return an independent handle by which a replica continues ``document``."""
    return MemoryDocument.of(
        document.id, document.state, writer=WRITERS[replica], clock=clock_at(wall)
    )


class History:
    """What three replicas made of one memory.

    Attributes:
        past: For each replica every state it ever had, oldest first.
        written: What each step wrote, before and after; restores are not writes.
    """

    def __init__(self, steps: Sequence[Step]) -> None:
        self.past: list[list[MemoryDocument]] = [[fresh(replica, 1)] for replica in REPLICAS]
        self.written: list[tuple[MemoryDocument, MemoryDocument]] = []
        for step in steps:
            before = self.past[step.replica][-1]
            after = self._after(step, before)
            if not isinstance(step, Restore):
                self.written.append((before, after))
            self.past[step.replica].append(after)

    def _after(self, step: Step, before: MemoryDocument) -> MemoryDocument:
        if isinstance(step, Merge):
            return before.merge(self.past[step.source][-1])
        if isinstance(step, Restore):
            past = self.past[step.replica]
            return past[max(0, len(past) - 1 - step.age)]
        if isinstance(step, Blind):
            blind = fresh(step.replica, step.wall, step.content)
            blind.add_tag(step.tag)
            return before.merge(blind)
        if isinstance(step, Revive):
            if not before.is_forgotten:
                return before
            return before.merge(fresh(step.replica, step.wall).revived(before.state.life))
        if before.is_forgotten:
            return before
        if isinstance(step, Forget):
            after = before.copy()
            after.forget()
            return after
        after = opened(before, step.replica, step.wall)
        getattr(after, step.method)(*step.arguments)
        return after

    @property
    def latest(self) -> list[MemoryDocument]:
        """What each replica holds in the end."""
        return [states[-1] for states in self.past]

    @property
    def reached(self) -> list[MemoryDocument]:
        """Every state of every replica."""
        return [state for states in self.past for state in states]

    def __repr__(self) -> str:
        return f"History(latest={self.latest!r})"


FOCUSES = (
    "add_tag remove_tag",
    "set_importance set_confidence",
    "set_content set_memory_type set_namespace set_episode set_expires_at set_archived",
    "set_metadata record_access",
    "add_related add_parent add_evidence",
)
"""Methods that a history may keep to, so that replicas meet in the same fields."""

_MERGES = [Merge(replica, source) for replica in REPLICAS for source in REPLICAS]
_RESTORES = [Restore(replica, age) for replica in REPLICAS for age in (1, 2, 4, 8)]
_BLIND_WRITES = [
    Blind(replica, wall, content, tag)
    for replica in REPLICAS
    for wall in WALLS
    for content in ("tea", "milk")
    for tag in TAGS
]
_ENDINGS = [Forget(replica) for replica in REPLICAS]
_REVIVALS = [Revive(replica, wall) for replica in REPLICAS for wall in WALLS]


def _changes(methods: Sequence[str]) -> list[Change]:
    return [
        Change(replica, wall, method, arguments)
        for method, arguments in CHANGES
        if method in methods
        for replica in REPLICAS
        for wall in WALLS
    ]


def _one_of_kinds(kinds: Sequence[Sequence[Step]]) -> st.SearchStrategy[Step]:
    """Return a strategy that chooses a kind first, the more often the more often it is listed."""

    def chosen(drawn: tuple[int, int]) -> Step:
        kind = kinds[drawn[0]]
        return kind[drawn[1] % len(kind)]

    return st.tuples(st.integers(0, len(kinds) - 1), st.integers(0, 9_999)).map(chosen)


def _short_or_long(step: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Any]]:
    """Return lists of which half are long, so that much happens; they shrink to short ones."""
    return st.one_of(st.lists(step, max_size=6), st.lists(step, min_size=8, max_size=20))


def _steps(methods: Sequence[str], *, forgetting: bool) -> st.SearchStrategy[list[Step]]:
    kinds = [_changes(methods)] * 11 + [_MERGES] * 4 + [_RESTORES, _BLIND_WRITES]
    if forgetting:
        kinds += [_ENDINGS, _REVIVALS]
    return _short_or_long(_one_of_kinds(kinds))


_KEPT_TO = [[method for method, _ in CHANGES], *(focus.split() for focus in FOCUSES)]

living_steps = st.one_of([_steps(methods, forgetting=False) for methods in _KEPT_TO])
steps = st.one_of([_steps(methods, forgetting=True) for methods in _KEPT_TO])


def histories(*, forgetting: bool = True) -> st.SearchStrategy[History]:
    """Return histories; without forgetting, all states are of one life and join field by field."""
    return st.builds(History, steps if forgetting else living_steps)


Call = tuple[str, tuple[Any, ...], dict[str, Any]]
"""A method's name with positional and keyword arguments."""


class Subject(NamedTuple):
    """A CRDT class and the changes to try on it, for laws that every type obeys."""

    new: Any
    changes: tuple[Call, ...]

    def __repr__(self) -> str:
        return f"Subject({self.new.__name__})"


def subject_changes(subject: Subject) -> st.SearchStrategy[Call]:
    """Return the changes to try, without the strategy's description repeating them all."""
    return st.integers(0, len(subject.changes) - 1).map(lambda number: subject.changes[number])


def subject_states(subject: Subject) -> st.SearchStrategy[list[Any]]:
    """Return the states that three replicas reach by changes and merges, in order of time."""
    change = st.tuples(st.sampled_from(REPLICAS), subject_changes(subject))
    merge = st.tuples(st.sampled_from(REPLICAS), st.sampled_from(REPLICAS))
    return _short_or_long(st.one_of(change, merge)).map(lambda drawn: _run(subject, drawn))


def _run(subject: Subject, drawn: Sequence[tuple[int, Any]]) -> list[Any]:
    note(f"steps: {drawn}")
    replicas = [subject.new() for _ in REPLICAS]
    reached = list(replicas)
    for replica, what in drawn:
        after = replicas[replica].merge(replicas[what] if isinstance(what, int) else subject.new())
        if not isinstance(what, int):
            method, arguments, options = what
            getattr(after, method)(*arguments, **options)
        replicas[replica] = after
        reached.append(after)
    return reached
