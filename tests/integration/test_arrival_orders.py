"""Every order in which the same changes arrive gives one row, and the same answer on every replica.

Replicas write apart, then hear of one another in every order, through real syncs of real files.
"""

from collections.abc import Awaitable, Callable, Iterator
from itertools import count, permutations
from pathlib import Path
from typing import Any

import pytest

from chrysalis_memory import AgentMemory, HybridLogicalClock, MemoryDocument, MemoryStorage
from chrysalis_memory.learning import NewMemory, learn
from chrysalis_memory.replication.replica import Replica
from chrysalis_memory.replication.replicator import sync
from chrysalis_memory.replication.transport import LocalTransport

NOW_US = 1_800_000_000_000_000
MEMORY_ID = "m"
TEXT = "Tea is at four"
ROWS = (
    "SELECT id, life, state, digest, content, importance, updated_at FROM memory ORDER BY id",
    "SELECT tag FROM tag ORDER BY tag",
    "SELECT replica, count FROM access ORDER BY replica",
    "SELECT length, tokens FROM memory_word ORDER BY tokens",
)


class Case:
    """Three replicas that hear of one another in some order.

    Args:
        folder: Where their files are.
        name: Distinguishes the files.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self._ticks = count(NOW_US, 1_000)
        self.stands_still = False
        self.stores = [
            MemoryStorage(
                folder / f"{name}-{number}.db",
                writer,
                synchronous="NORMAL",
                clock=HybridLogicalClock(self._wall_us),
            )
            for number, writer in enumerate(("ann", "bob", "cay"))
        ]

    def _wall_us(self) -> int:
        return NOW_US if self.stands_still else next(self._ticks)

    def close(self) -> None:
        for store in self.stores:
            store.close()

    def new(self, number: int) -> None:
        """Put a memory that knows nothing of another one with its id."""
        store = self.stores[number]
        store.put(MemoryDocument(MEMORY_ID, TEXT, None, store.instance, clock=store.clock))

    def share(self, *tags: str) -> None:
        """Have every replica hold the same memory."""
        self.new(0)
        for tag in tags:
            self.change(0, lambda memory, tag=tag: memory.add_tag(tag))
        for store in self.stores[1:]:
            store.merge(self.stores[0].states())

    def change(self, number: int, change: Callable[[MemoryDocument], Any]) -> None:
        self.stores[number].update(MEMORY_ID, change)

    def rows(self, number: int) -> list[Any]:
        return self.stores[number].read(
            lambda session: [session.connection.execute(sql).fetchall() for sql in ROWS]
        )

    async def meet(self, order: tuple[int, ...]) -> None:
        """Let the first hear of the others in turn, and then all of all."""
        first, *others = order
        for _ in range(2):
            for other in others:
                transport = LocalTransport(Replica(self.stores[other]))
                await sync(Replica(self.stores[first]), transport)


# What happens apart: one function for each case.


def concurrent_tag_adds(case: Case) -> None:
    case.share("old")
    case.change(0, lambda memory: memory.add_tag("red"))
    case.change(1, lambda memory: memory.add_tag("blue"))
    case.change(2, lambda memory: (memory.remove_tag("old"), memory.add_tag("red")))
    case.change(2, lambda memory: memory.remove_tag("red"))  # not the one that is added meanwhile


def an_update_before_its_creation(case: Case) -> None:
    case.new(0)
    case.stores[1].merge(case.stores[0].states())
    case.change(1, lambda memory: memory.set_importance(0.9))
    case.change(1, lambda memory: memory.set_content("Tea is at five"))


def the_same_text_on_two_replicas_then_edited(case: Case) -> None:
    for number, tag in ((0, "red"), (1, "blue")):
        new = NewMemory.of(content=TEXT, tags=[tag])
        case.stores[number].submit(lambda t, new=new: learn(t, new, None)).result()
    memory_id = NewMemory.of(content=TEXT).derived_id()
    case.stores[1].update(memory_id, lambda memory: memory.set_content("Tea is at five"))


def a_deletion_against_an_edit(case: Case) -> None:
    case.share()
    case.stores[0].forget(MEMORY_ID)
    case.change(1, lambda memory: memory.set_content("Tea is at five"))
    case.change(2, lambda memory: memory.add_tag("red"))


def uses_counted_apart(case: Case) -> None:
    case.share()
    case.stores[0].record_access({MEMORY_ID: 2})
    case.stores[1].record_access({MEMORY_ID: 3})


def equal_clocks(case: Case) -> None:
    case.share()
    case.stands_still = True
    for number, text in enumerate(("Tea is at five", "Tea is at six", "Tea is at seven")):
        store = case.stores[number]
        # Clocks that are all new, and so give all the same stamp.
        store.clock = HybridLogicalClock(case._wall_us)
        case.change(number, lambda memory, text=text: memory.set_content(text))


def _shown(store: MemoryStorage) -> list[dict[str, Any]]:
    return [
        {
            "content": memory.content,
            "tags": sorted(memory.get_tags()),
            "importance": memory.get_importance(),
            "uses": memory.get_access_count(),
        }
        for memory in store.all()
    ]


def _memory(content: str = TEXT, tags: tuple[str, ...] = (), **others: Any) -> dict[str, Any]:
    return {"content": content, "tags": list(tags), "importance": 0.5, "uses": 0} | others


CASES: dict[Callable[[Case], None], list[dict[str, Any]]] = {
    concurrent_tag_adds: [_memory(tags=("blue", "red"))],
    an_update_before_its_creation: [_memory("Tea is at five", importance=0.9)],
    the_same_text_on_two_replicas_then_edited: [_memory("Tea is at five", ("blue", "red"))],
    a_deletion_against_an_edit: [],
    uses_counted_apart: [_memory(uses=5)],
    equal_clocks: [_memory("Tea is at seven")],
}


@pytest.fixture
def open_case(tmp_path: Path) -> Iterator[Callable[[str], Case]]:
    opened: list[Case] = []

    def open_one(name: str) -> Case:
        opened.append(Case(tmp_path, name))
        return opened[-1]

    yield open_one
    for case in opened:
        case.close()


@pytest.mark.parametrize("happens", CASES, ids=lambda happens: happens.__name__)
async def test_every_order_of_arrival_gives_one_row_and_the_same_recall(
    open_case: Callable[[str], Case],
    start_agent: Callable[..., Awaitable[AgentMemory]],
    happens: Callable[[Case], None],
) -> None:
    rows: list[Any] = []
    answers: list[Any] = []
    for order in permutations(range(3)):
        name = "".join(map(str, order))
        case = open_case(name)
        for number, store in enumerate(case.stores):  # what else there is to recall
            store.put(
                MemoryDocument(f"other-{number}", "Rain at four", None, clock=clock_at_start())
            )
        happens(case)
        await case.meet(order)
        for number, store in enumerate(case.stores):
            assert CASES[happens] == [m for m in _shown(store) if m["content"] != "Rain at four"]
            rows.append(_without_names(case, number))
            store.close()
            agent = await start_agent(
                "ada", f"{name}-{number}.db", embedder="hashing:64", synchronous="NORMAL"
            )
            await agent.embed_pending()
            found = await agent.recall("tea at four", k=5, track=False)
            answers.append([(memory.id, memory.content) for memory in found])
            await agent.stop()
    assert [rows[0]] * len(rows) == rows
    assert [answers[0]] * len(answers) == answers
    assert 3 + len(CASES[happens]) == len(answers[0])


def clock_at_start() -> HybridLogicalClock:
    return HybridLogicalClock(lambda: NOW_US - 1)


def _without_names(case: Case, number: int) -> list[Any]:
    """Return the rows of a replica; replicas have random names, under which uses are counted."""
    memories, tags, uses, words = case.rows(number)
    return [memories, tags, sorted(count for _, count in uses), words]
