"""Whoever is restricted to a namespace learns nothing of what lies elsewhere, whatever they ask.

The paths are listed by the code itself: one that is new and not asked here fails the first tests.
"""

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from chrysalis_memory import AgentMemory, MemoryDocument, MemoryStorage
from chrysalis_memory.agent.view import MemoryView
from chrysalis_memory.backends.base import Backend, Session
from chrysalis_memory.errors import ChrysalisError, MemoryNotFound, OutOfView
from chrysalis_memory.provenance import sources_of
from chrysalis_memory.query import Filter
from chrysalis_memory.views.session import ConfinedSession
from chrysalis_memory.views.storage import ConfinedStorage
from chrysalis_memory.visibility import Visibility
from tests import tenants
from tests.tenants import ALICE, BOB, MARK, UNKNOWN, Others, leaks, said

Ask = Callable[[AgentMemory, str, Path], Awaitable[Any] | Any]
"""Asks a view by an id, and with a folder to write into."""

QUERY = f"tea milk report {MARK} standup"


async def exported(view: AgentMemory, path: Path) -> Any:
    """Return what an export writes."""
    target = path / "out.jsonl"
    return await view.export(target), target.read_text()


async def learned_each(view: AgentMemory, one: str, _: Path) -> Any:
    return await view.learn_each([{"content": "x", "namespace": BOB, "id": one}])


ALL = {"include_archived": True, "include_expired": True}

READS: dict[str, Ask] = {
    "count": lambda v, i, p: v.count(**ALL),
    "duplicates": lambda v, i, p: v.duplicates(0.1),
    "embed": lambda v, i, p: v.embed(["tea"]),
    "explain": lambda v, i, p: v.explain(QUERY, i, 3, **ALL),
    "export": lambda v, i, p: exported(v, p),
    "find": lambda v, i, p: v.find(**ALL),
    "get": lambda v, i, p: v.get(i),
    "namespaces": lambda v, i, p: v.namespaces(**ALL),
    "nearest": lambda v, i, p: v.nearest(QUERY, 50, with_vectors=True, **ALL),
    "purge": lambda v, i, p: v.purge("*", dry_run=True),
    "quarantined": lambda v, i, p: v.quarantined(),
    "recall": lambda v, i, p: v.recall(QUERY, 50, track=False, context=5, **ALL),
    "recall_many": lambda v, i, p: v.recall_many([QUERY, MARK], 50, track=False, **ALL),
    "recent": lambda v, i, p: v.recent(100, **ALL),
    "related": lambda v, i, p: v.related(i, 20),
    "require": lambda v, i, p: v.require(i),
    "sources": lambda v, i, p: v.sources(**ALL),
    "statistics": lambda v, i, p: v.statistics(),
    "sync_status": lambda v, i, p: v.sync_status(),
    "tags": lambda v, i, p: v.tags(**ALL),
    "vectors": lambda v, i, p: v.vectors(**ALL),
}
"""What returns something of memories; asked by an id where it takes one."""

WRITES: dict[str, Ask] = {
    "absorb": lambda v, i, p: v.absorb([{"role": "user", "content": "x"}], namespace=BOB),
    "consolidate": lambda v, i, p: v.consolidate([i, "alice-0"]),
    "forget": lambda v, i, p: v.forget(i),
    "import_": lambda v, i, p: imported(v, i, p),
    "learn": lambda v, i, p: v.learn("Now it says something else", id=i, namespace=BOB),
    "learn_each": learned_each,
    "learn_many": lambda v, i, p: v.learn_many([{"content": "x", "id": i, "namespace": BOB}]),
    "merge": lambda v, i, p: merged(v, i, p),
    "update": lambda v, i, p: v.update(i, content="Now it says something else"),
    "within": lambda v, i, p: v.within(BOB),
}
"""What would write across, or reach there."""

REFUSED: dict[str, Ask] = {
    "backup": lambda v, i, p: v.backup(p / "backup.db"),
    "check": lambda v, i, p: v.check(),
    "clone": lambda v, i, p: v.clone(p / "clone.db"),
    "embed_pending": lambda v, i, p: v.embed_pending(),
    "embed_soon": lambda v, i, p: v.embed_soon(),
    "erase": lambda v, i, p: v.erase(i),
    "keep_in_sync": lambda v, i, p: v.keep_in_sync(p / "peer.db"),
    "reindex": lambda v, i, p: v.reindex(),
    "repair": lambda v, i, p: v.repair(),
    "sync": lambda v, i, p: v.sync(p / "peer.db"),
}
"""What concerns the whole store."""

PLAIN = {"is_read_only", "loop", "path", "start", "stop", "storage"}
"""What tells nothing of memories; the store has a table of its own."""


def document(one: str) -> MemoryDocument:
    found = MemoryDocument(one, "Now it says something else")
    found.set_namespace(BOB)
    return found


async def imported(view: AgentMemory, one: str, path: Path) -> Any:
    (path / "in.jsonl").write_text(document(one).to_json())
    return await view.import_(path / "in.jsonl")


async def merged(view: AgentMemory, one: str, path: Path) -> Any:
    with MemoryStorage(path / "other.db") as other:
        other.put(document(one))
        return await view.merge(other)


def documents(store: MemoryStorage) -> list[MemoryDocument]:
    rows = store.read(lambda session: session.everything(after=0, limit=99))
    return [*map(store.document, rows)]


STORE: dict[str, Callable[[MemoryStorage, str, Path], Any]] = {
    "activate_space": lambda s, i, p: s.activate_space(s.spaces()[0]),
    "all": lambda s, i, p: s.all(),
    "backup": lambda s, i, p: s.backup(p / "backup.db"),
    "clone": lambda s, i, p: s.clone(p / "clone.db"),
    "close": lambda s, i, p: s.close(),
    "count": lambda s, i, p: s.count(),
    "document": lambda s, i, p: documents(s),
    "erase": lambda s, i, p: s.erase(i),
    "export_collection": lambda s, i, p: [*s.export_collection()],
    "find": lambda s, i, p: s.find(Filter(**ALL)),
    "tidy": lambda s, i, p: s.tidy(),
    "forget": lambda s, i, p: s.forget(i),
    "get": lambda s, i, p: s.get(i),
    "load": lambda s, i, p: s.load(range(1, 99)),
    "merge": lambda s, i, p: s.merge([document(i)]),
    "merge_collection": lambda s, i, p: s.merge(map(document, [i])),
    "on_group_end": lambda s, i, p: s.on_group_end(lambda: None),
    "open_space": lambda s, i, p: s.open_space("other", "other", 8),
    "pending": lambda s, i, p: s.pending(s.spaces()[0], limit=99),
    "put": lambda s, i, p: s.put(document(i)),
    "put_many": lambda s, i, p: s.put_many([document(i)]),
    "put_tokens": lambda s, i, p: s.put_tokens(s.spaces()[0], [(9, b"", b"")]),
    "put_vectors": lambda s, i, p: s.put_vectors(s.spaces()[0], []),
    "query": lambda s, i, p: s.query(Filter()).filter,
    "query_by_importance": lambda s, i, p: s.query_by_importance(0.0),
    "query_by_tag": lambda s, i, p: s.query_by_tag(f"tag-{MARK}"),
    "query_by_type": lambda s, i, p: s.query_by_type("semantic"),
    "read": lambda s, i, p: s.read(lambda t: t.load(i)),
    "rebuild_indexes": lambda s, i, p: s.rebuild_indexes(),
    "recent": lambda s, i, p: s.recent(99),
    "record_access": lambda s, i, p: s.record_access({i: 1}),
    "renew_identity": lambda s, i, p: s.renew_identity(),
    "run": lambda s, i, p: s.run(lambda t: t.load(i)),
    "spaces": lambda s, i, p: s.spaces(),
    "states": lambda s, i, p: [*s.states()],
    "statistics": lambda s, i, p: s.statistics(),
    "submit": lambda s, i, p: s.submit(lambda t: t.require(i)).result(),
    "update": lambda s, i, p: s.update(i, lambda d: d.set_content("x")),
}  # fmt: skip
"""Every method of a view's store."""


@pytest.fixture
async def memory(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[AgentMemory]:
    """Alice's memories, in a file unless a test asks for a database."""
    of_database = getattr(request, "param", "file") == "database"
    path = request.getfixturevalue("postgres_url") if of_database else tmp_path / "shared.db"
    async with AgentMemory("ada", path=path, **tenants.OPTIONS) as memory:
        await tenants.learn_alice(memory)
        yield memory


@pytest.fixture
async def others(memory: AgentMemory) -> Others:
    return await tenants.learn_others(memory)


@pytest.fixture
def blind(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one rule, broken."""
    monkeypatch.setattr(Visibility, "sees", lambda self, namespace: True)


on_both_engines = pytest.mark.parametrize("memory", ["file", "database"], indirect=True)


async def answer(ask: Callable[..., Any], *arguments: Any, **options: Any) -> str:
    """Return what is said to whoever asks, refusals included."""
    try:
        found = ask(*arguments, **options)
        return said(await found if inspect.isawaitable(found) else found)
    except ChrysalisError as error:
        return said(error)


def public(kind: type) -> set[str]:
    return {name for name, _ in inspect.getmembers(kind) if not name.startswith("_")}


def test_every_method_of_a_memory_is_asked_here():
    assert {*READS, *WRITES, *REFUSED, *PLAIN} == public(MemoryView) - {"namespace"}


def test_every_method_of_a_store_is_asked_here():
    # ``rekey`` is for a file that nobody has open.
    assert set(STORE) == public(ConfinedStorage) - {"of", "follow", "rekey"}


@pytest.mark.parametrize("name", sorted(public(Session) - public(ConfinedSession)))
def test_what_a_session_of_a_view_does_not_confine_is_refused(name: str):
    session = ConfinedSession(object(), Visibility(ALICE))  # type: ignore[arg-type]
    with pytest.raises(OutOfView, match=name):
        getattr(session, name)


@pytest.mark.parametrize("name", sorted(public(Backend) - {"read", "write", "run"}))
async def test_what_an_engine_does_for_the_whole_store_is_refused_to_a_view(
    name: str, memory: AgentMemory
):
    backend = memory.within(ALICE).storage._backend
    with pytest.raises(OutOfView, match=name):
        getattr(backend, name)


@on_both_engines
async def test_no_read_tells_anything_of_what_lies_outside(
    memory: AgentMemory, others: Others, tmp_path: Path
):
    view = memory.within(ALICE)
    found = {
        (name, one): leaks(await answer(ask, view, one, tmp_path), others, known=one)
        for name, ask in READS.items()
        for one in others.ids
    }
    assert {path: told for path, told in found.items() if told} == {}


async def test_an_id_outside_is_answered_like_one_that_nothing_has(
    memory: AgentMemory, others: Others, tmp_path: Path
):
    view = memory.within(ALICE)
    differing = {}
    for name, ask in (READS | WRITES).items():
        expected = (await answer(ask, view, UNKNOWN, tmp_path)).replace(UNKNOWN, "ID")
        for one in others.ids:
            told = (await answer(ask, view, one, tmp_path)).replace(one, "ID")
            if told != expected:
                differing[name, one] = told, expected
    assert differing == {}


@on_both_engines
async def test_no_write_reaches_what_lies_outside(
    memory: AgentMemory, others: Others, tmp_path: Path
):
    before, view = await tenants.kept(memory, others), memory.within(ALICE)
    for one in others.ids:
        for ask in WRITES.values():
            assert leaks(await answer(ask, view, one, tmp_path), others, known=one) == []
        await answer(view.learn, "Mine now", id=one)
        await answer(view.learn_many, [{"content": text} for text in tenants.TEXTS])
        await view.recall(QUERY, 50)
    assert await tenants.kept(memory, others) == before


async def test_a_memory_is_not_moved_out_of_a_view(memory: AgentMemory, others: Others):
    with pytest.raises(OutOfView, match="lies outside of 'user/alice'"):
        await memory.within(ALICE).update("alice-0", namespace=BOB)
    assert (await memory.require("alice-0")).namespace == ALICE


async def test_the_store_of_a_view_is_as_confined(
    memory: AgentMemory, others: Others, tmp_path: Path
):
    before, store = await tenants.kept(memory, others), memory.within(ALICE).storage
    found = {
        (name, one): leaks(await answer(ask, store, one, tmp_path), others, known=one)
        for name, ask in STORE.items()
        for one in others.ids
    }
    assert {path: told for path, told in found.items() if told} == {}
    assert await tenants.kept(memory, others) == before


@pytest.mark.parametrize("name", sorted(REFUSED))
async def test_what_concerns_the_whole_store_is_refused(
    memory: AgentMemory, name: str, tmp_path: Path
):
    before = sorted(path.name for path in tmp_path.iterdir())
    assert (await answer(REFUSED[name], memory.within(ALICE), UNKNOWN, tmp_path)).startswith(
        "OutOfView: a view of a memory cannot do this"
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == before


@on_both_engines
async def test_what_others_do_changes_no_answer(memory: AgentMemory, tmp_path: Path):
    """Scores tell how rare a word is, so what is rare is worked out from the view alone."""
    view = memory.within(ALICE)
    of_store = {name: STORE[name] for name in ("states", "load", "read", "statistics")}

    async def answers() -> dict[str, str]:
        told = {name: await answer(ask, view, "alice-1", tmp_path) for name, ask in READS.items()}
        return told | {
            f"storage.{name}": await answer(ask, view.storage, "alice-1", tmp_path)
            for name, ask in of_store.items()
        }

    before = await answers()
    bob = memory.within(BOB)
    await bob.learn_many([f"{text} {n}" for text in tenants.TEXTS for n in range(40)])
    await bob.absorb([{"role": "user", "content": "Is the milk Alice's?"}], episode="standup")
    await tenants.learn_others(memory, joined=False)
    after = await answers()
    assert {
        name: (before[name], told) for name, told in after.items() if told != before[name]
    } == {}


@pytest.mark.usefixtures("blind")
async def test_with_the_rule_broken_every_way_of_reading_leaks(
    memory: AgentMemory, others: Others, tmp_path: Path
):
    view = memory.within(ALICE)
    tight = {
        name
        for name, ask in READS.items()
        if not any(
            [
                leaks(await answer(ask, view, one, tmp_path), others, known=one)
                for one in others.living
            ]
        )
    }
    counted = {"embed", "sync_status"}  # tell nothing of memories
    numbers = {"count", "explain", "purge", "sources"}  # tell no text; the next test compares
    assert tight == counted | numbers


async def test_with_the_rule_broken_ids_outside_are_told_apart(
    memory: AgentMemory, others: Others, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    view, told = memory.within(ALICE), {}
    for name in ("count", "explain", "purge", "sources"):
        expected = await answer(READS[name], view, UNKNOWN, tmp_path)
        with monkeypatch.context() as broken:
            broken.setattr(Visibility, "sees", lambda self, namespace: True)
            found = await answer(READS[name], view, others.living[-1], tmp_path)
        told[name] = found.replace(others.living[-1], UNKNOWN) != expected
    assert told == dict.fromkeys(told, True)


async def test_a_derived_id_that_lies_outside_is_neither_told_nor_taken(memory: AgentMemory):
    """The owner moved it there; learning its text again makes another memory."""
    view = memory.within(ALICE)
    first = await view.learn("Once it was mine")
    await memory.update(first, namespace=BOB, importance=0.9)
    again = await view.learn("Once it was mine")
    explicit = await view.learn("Mine", id="mine")
    await memory.update(explicit, namespace=BOB)

    assert (await view.learn("Mine again", id="mine")) == f"{explicit}'"
    assert (again == first, await view.learn("Once it was mine")) == (False, again)
    assert (await memory.require(first)).get_importance() == 0.9
    assert (await memory.require(explicit)).content == "Mine"


async def test_a_name_of_ones_own_never_meets_that_of_another(memory: AgentMemory):
    alice, bob = memory.within(ALICE), memory.within(BOB)
    ids = [await one.learn("Tea", id="tea", evidence=["seen"]) for one in (alice, bob)]
    await alice.update("tea", content="Coffee", related=["alice-0"])

    assert ids == ["user/alice/tea", "user/bob/tea"]
    assert [(await one.require("tea")).content for one in (alice, bob)] == ["Coffee", "Tea"]
    changed = await alice.require("tea")
    assert (changed.get_related(), changed.get_evidence()) == (["alice-0"], ["user/alice/seen"])


async def test_what_a_view_hides_of_a_memory_it_does_not_remove(memory: AgentMemory):
    before = await memory.require("alice-0")
    await memory.within(ALICE).update("alice-0", importance=0.1, add_tags=["new"])
    after = await memory.require("alice-0")

    assert after.get_related() == before.get_related()
    assert after.get_parents() == before.get_parents()
    assert after.get_evidence() == before.get_evidence()
    assert (after.get_importance(), sorted(after.get_tags())) == (0.1, ["new", "work"])


async def test_what_is_forgotten_is_as_unknown_and_comes_back_by_learning_alone(
    memory: AgentMemory,
):
    view = memory.within(ALICE)
    one = await view.learn("A secret of mine")
    await view.forget(one)
    for ask in (view.require, view.related, view.update):
        with pytest.raises(MemoryNotFound):
            await ask(one)
    absorbed = await view.learn_each([{"content": "A secret of mine", "only_add": True}])

    assert (absorbed.learned, len(absorbed.refused)) == ([], 1)
    assert await view.learn("A secret of mine") == one


async def test_a_view_that_only_reads_changes_nothing(memory: AgentMemory, tmp_path: Path):
    view = memory.within(ALICE, read_only=True)
    await memory.statistics()
    before = [one.to_json() for one in memory.storage.states()]
    for ask in WRITES.values():
        told = await answer(ask, view, "alice-0", tmp_path)
        assert "this view of the memory only reads" in told or "lies outside" in told
    await view.recall("tea", 50)
    await memory.statistics()

    assert [one.to_json() for one in memory.storage.states()] == before
    assert view.within(f"{ALICE}/notes").is_read_only


async def test_a_purge_in_a_view_forgets_nothing_outside(memory: AgentMemory, others: Others):
    before, view = await tenants.kept(memory, others), memory.within(ALICE)
    held = await view.count(**ALL)
    purged = await view.purge("*")

    assert (purged.forgotten, await view.count(**ALL)) == (held, 0)
    assert await tenants.kept(memory, others) == before


async def test_who_taught_a_memory_is_told_in_a_view(memory: AgentMemory):
    view = memory.within(ALICE)
    one = await view.learn("Tea is hot", source="web:example.com")
    await view.learn("Tea is hot", source="web:example.org")

    assert sources_of(await view.require(one)) == ("web:example.com", "web:example.org")
    assert sources_of(await memory.require(one)) == ("web:example.com", "web:example.org")


async def test_a_view_within_a_view_is_no_wider(memory: AgentMemory):
    view = memory.within(ALICE)
    below = view.within(f"{ALICE}/notes")

    assert [one.id for one in await below.recent()] == ["alice-below"]
    for outside in (BOB, "user", "", "user/alicex"):
        with pytest.raises(OutOfView):
            view.within(outside)


async def test_an_export_of_a_view_is_imported_into_another(memory: AgentMemory, tmp_path: Path):
    view = memory.within(f"{ALICE}/notes")
    await view.export(tmp_path / "out.jsonl")
    async with AgentMemory("eve", path=tmp_path / "other.db", **tenants.OPTIONS) as other:
        there = other.within(ALICE)
        counts = [await there.import_(tmp_path / "out.jsonl") for _ in range(2)]
        found = await there.find()

    assert counts == [1, 0]
    assert [(one.id, one.namespace) for one in found] == [
        ("user/alice/alice-below", "user/alice/notes")
    ]


async def test_an_import_with_one_memory_outside_changes_nothing(
    memory: AgentMemory, tmp_path: Path
):
    mine = MemoryDocument("mine", "Mine")
    mine.set_namespace(ALICE)
    (tmp_path / "in.jsonl").write_text(f"{mine.to_json()}\n{document('theirs').to_json()}\n")
    with pytest.raises(OutOfView, match="'user/bob' lies outside"):
        await memory.within(ALICE).import_(tmp_path / "in.jsonl")
    assert await memory.within(ALICE).get("mine") is None


async def test_a_view_starts_the_memory_and_stops_what_it_started(tmp_path: Path):
    memory = AgentMemory("ada", path=tmp_path / "memory.db", **tenants.OPTIONS)
    async with memory.within(ALICE) as view:
        await view.learn("Tea is at four")
        assert await memory.count() == 1
    assert memory.loop is None
    async with memory:
        async with memory.within(ALICE) as view:
            assert await view.count() == 1
        assert await memory.count() == 1
