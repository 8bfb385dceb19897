"""What LangGraph's own tests do not ask of the store: that its items are memories, and the rest."""

import asyncio
import gc
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from langgraph.store.base import GetOp, PutOp, SearchOp

from chrysalis_memory import AgentMemory
from chrysalis_memory.errors import InvalidValue, NotADatabase, StoreClosed
from chrysalis_memory.integrations import items
from chrysalis_memory.integrations.langgraph import ChrysalisStore, InvalidNamespaceError
from embedders.errors import DimensionMismatch, EmbedderUnavailable
from embedders.hashing import HashingEmbedder

DOCS = ("docs",)
NOW = 1e-9
"""A TTL in minutes that is over at once."""


def open_memory(path: Path | str = ":memory:", agent_id: str = "ada") -> AgentMemory:
    return AgentMemory(agent_id, path=path, embedder="hashing", synchronous="NORMAL")


@pytest.fixture
def open_store() -> Iterator[Callable[..., ChrysalisStore]]:
    opened: list[ChrysalisStore] = []

    def open_(memory: AgentMemory | None = None, **options: Any) -> ChrysalisStore:
        store = ChrysalisStore(memory or open_memory(), **options)
        opened.append(store)
        return store

    yield open_
    for store in opened:
        store.close()


@pytest.fixture
def store(open_store: Callable[..., ChrysalisStore]) -> ChrysalisStore:
    return open_store()


def keys(found: list[Any]) -> list[str]:
    return [item.key for item in found]


async def wait_until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - nothing signals it
            await asyncio.sleep(0.01)


# Items are memories


async def test_an_item_is_a_memory_that_is_recalled_and_lies_in_its_namespace():
    async with open_memory() as memory, ChrysalisStore(memory, index={"fields": ["text"]}) as store:
        await store.aput(("users", "alice"), "food", {"text": "Alice likes olives", "stars": 5})
        (found,) = await memory.recall("olives")
        assert (found.content, found.namespace) == ("Alice likes olives", "users/alice")
        assert found.metadata[items.RECORD] == {
            "key": "food", "value": {"text": "Alice likes olives", "stars": 5}, "texts": 1,
        }  # fmt: skip


async def test_an_item_that_is_not_indexed_reads_as_its_json():
    async with open_memory() as memory, ChrysalisStore(memory) as store:
        await store.aput(DOCS, "k", {"b": "é", "a": 1}, index=False)
        assert [one.content for one in await memory.find()] == ['{"a": 1, "b": "é"}']


async def test_memories_that_are_no_items_stay_out_of_the_store():
    async with open_memory() as memory, ChrysalisStore(memory) as store:
        await memory.learn("Alice likes olives", namespace="docs")
        assert await store.asearch(()) == []
        assert await store.asearch(DOCS, query="olives") == []
        assert await store.alist_namespaces() == []


async def test_values_put_on_two_replicas_converge_to_one_of_them_whole():
    async with (
        open_memory() as ada,
        open_memory(agent_id="bob") as bob,
        ChrysalisStore(ada) as here,
        ChrysalisStore(bob) as there,
    ):
        await here.aput(DOCS, "k", {"a": 1, "only": "here"})
        await there.aput(DOCS, "k", {"b": 2})
        await ada.merge(bob)
        await bob.merge(ada)
        item = await here.aget(DOCS, "k")
        assert item is not None
        assert item.value == {"b": 2}
        assert item == await there.aget(DOCS, "k")
        assert len(await ada.find()) == 1


async def test_what_is_deleted_is_forgotten_on_every_replica_with_all_its_texts():
    index: Any = {"fields": ["parts[*]"]}
    async with (
        open_memory() as ada,
        open_memory(agent_id="bob") as bob,
        ChrysalisStore(ada, index=index) as here,
        ChrysalisStore(bob) as there,
    ):
        await here.aput(DOCS, "k", {"parts": ["one", "two", "three"]})
        await bob.merge(ada)
        assert await bob.count() == 3
        await there.adelete(DOCS, "k")
        await ada.merge(bob)
        assert await ada.count() == 0
        assert await here.aget(DOCS, "k") is None


def test_created_at_survives_an_update_and_updated_at_moves(store: ChrysalisStore):
    store.put(DOCS, "k", {"n": 1})
    before = store.get(DOCS, "k")
    store.put(DOCS, "k", {"n": 2})
    after = store.get(DOCS, "k")
    assert before is not None
    assert after is not None
    assert after.created_at == before.created_at
    assert after.updated_at > before.updated_at


def test_the_same_file_opens_with_what_was_put(tmp_path: Path):
    with ChrysalisStore(open_memory(tmp_path / "m.db")) as store:
        store.put(DOCS, "k", {"n": 1})
    with ChrysalisStore(open_memory(tmp_path / "m.db")) as store:
        assert keys(store.search(DOCS, query="n")) == ["k"]


# Batches


def test_reads_see_what_was_there_before_the_writes_of_their_batch(store: ChrysalisStore):
    store.put(DOCS, "a", {"n": 1})
    results = store.batch(
        [
            PutOp(DOCS, "a", {"n": 2}),
            GetOp(DOCS, "a"),
            PutOp(DOCS, "a", {"n": 3}),
            PutOp(DOCS, "b", {"n": 4}),
            PutOp(DOCS, "b", None),
            SearchOp(DOCS),
        ]
    )
    assert [results[1].value, keys(results[5])] == [{"n": 1}, ["a"]]
    assert [(item.key, item.value) for item in store.search(DOCS)] == [("a", {"n": 3})]


def test_a_bad_label_leaves_the_whole_batch_undone(store: ChrysalisStore):
    with pytest.raises(InvalidNamespaceError):
        store.batch([PutOp(DOCS, "a", {}), PutOp(("a.b",), "k", {})])
    assert store.search(()) == []


def test_many_items_are_put_and_replaced_in_one_batch(store: ChrysalisStore):
    for turn in (1, 2):
        store.batch([PutOp(DOCS, str(n), {"n": n, "turn": turn}) for n in range(1200)])
    found = store.search(DOCS, limit=2000)
    assert sorted(item.value["n"] for item in found) == list(range(1200))
    assert {item.value["turn"] for item in found} == {2}


def test_a_deleted_item_can_be_put_again(store: ChrysalisStore):
    for n in (1, 2):
        store.put(DOCS, "k", {"n": n})
        store.delete(DOCS, "k")
        store.put(DOCS, "k", {"n": -n})
        item = store.get(DOCS, "k")
        assert item is not None
        assert item.value == {"n": -n}


# Namespaces


LABELS = ["a/b", "100%", "a%2Fb", "line\n", "star*", "q?", "[x]", "user_1", "Ünï", "A", "a"]


def test_labels_of_any_characters_are_told_apart(store: ChrysalisStore):
    for label in LABELS:
        store.put((label, "deep"), "k", {"label": label})
    store.put(("a", "b", "deep"), "k", {"label": "two"})
    for label in LABELS[:-1]:
        assert [item.value for item in store.search((label,))] == [{"label": label}]
        assert store.list_namespaces(prefix=(label,)) == [(label, "deep")]
    assert sorted(store.list_namespaces(prefix=("a",))) == [("a", "b", "deep"), ("a", "deep")]


def test_the_key_and_the_namespace_cannot_be_mistaken_for_each_other(store: ChrysalisStore):
    store.put(("a", "b"), "c", {"n": 1})
    assert store.get(("a",), "b/c") is None
    assert store.get(("a", "b", "c"), "") is None


# Filters

VALUE = {
    "n": 3, "x": 2.5, "s": "b", "t": True, "none": None, "list": [1, 2], "deep": {"n": 1, "m": 2},
    "dotted.key": 7,
}  # fmt: skip


@pytest.mark.parametrize(
    ("wanted", "matches"),
    [
        ({"n": 3}, True), ({"n": 3.0}, True), ({"n": "3"}, False), ({"n": {"$eq": 3}}, True),
        ({"n": {"$ne": 3}}, False), ({"absent": {"$ne": 3}}, True), ({"n": {"$gt": 3}}, False),
        ({"n": {"$gte": 3}}, True), ({"n": {"$lt": float("inf")}}, True),
        ({"n": {"$lte": float("nan")}}, False), ({"n": float("nan")}, False),
        ({"n": {"$gt": 1, "$lt": 3}}, False), ({"n": {"$lt": 10**100}}, True),
        ({"s": {"$gt": "a"}}, True), ({"s": {"$gt": 1}}, False), ({"absent": {"$gt": 1}}, False),
        ({"t": True}, True), ({"t": 1}, False), ({"none": None}, True), ({"absent": None}, True),
        ({"list": [1, 2]}, True), ({"list": [1]}, False), ({"deep.n": 1}, True),
        ({"deep.n.x": 1}, False), ({"deep": {"n": 1}}, True), ({"deep": {"n": 2}}, False),
        ({"deep": {"n": {"$gte": 1}}}, True), ({"dotted.key": 7}, True),
        ({"n": 3, "s": "c"}, False), ({"n": {"m": 1}}, False),
    ],
)  # fmt: skip
def test_a_filter_matches_as_documented(store: ChrysalisStore, wanted: Any, matches: bool):
    store.put(DOCS, "k", VALUE)
    assert keys(store.search(DOCS, filter=wanted)) == ["k"] * matches
    assert keys(store.search(DOCS, query="n", filter=wanted)) == ["k"] * matches


@pytest.mark.parametrize(
    "wanted",
    [
        {"a b": 1},
        {"x') OR ('1'='1": 1},
        {"": 1},
        {"n\n": 1},
        {"n": {"$in": [1]}},
        {"a": {"b c": 1}},
    ],
)
def test_a_filter_that_cannot_be_meant_is_refused(store: ChrysalisStore, wanted: Any):
    with pytest.raises(ValueError, match="filter"):
        store.search(DOCS, filter=wanted)


# Searching


def test_a_filter_never_leaves_fewer_than_there_are(store: ChrysalisStore):
    store.batch(
        [PutOp(DOCS, f"near{n}", {"text": f"olives number {n}", "kept": False}) for n in range(300)]
    )
    store.batch([PutOp(DOCS, f"far{n}", {"text": f"tax year {n}", "kept": True}) for n in range(7)])
    store.batch(
        [PutOp(DOCS, f"late{n}", {"text": f"olives {n}", "kept": False}) for n in range(300)]
    )
    for query in ("olives", None):
        pages = [
            keys(store.search(DOCS, query=query, filter={"kept": True}, limit=3, offset=offset))
            for offset in (0, 3, 6)
        ]
        assert [len(page) for page in pages] == [3, 3, 1]
        assert sorted(key for page in pages for key in page) == [f"far{n}" for n in range(7)]


def test_items_that_a_filter_leaves_far_down_keep_their_scores(store: ChrysalisStore):
    store.batch([PutOp(DOCS, f"near{n}", {"text": f"olives {n}"}) for n in range(300)])
    store.put(DOCS, "far", {"text": "tax year", "kept": True})
    (found,) = store.search(DOCS, query="olives", filter={"kept": True}, limit=3)
    assert (found.key, found.score is None) == ("far", False)


async def test_a_text_that_another_replica_left_behind_finds_nothing():
    async with open_memory() as memory, ChrysalisStore(memory) as store:
        await store.aput(DOCS, "k", {"text": "cheese"})
        (item,) = await memory.find()
        left = {items.ITEM: item.id, items.PART: 1}
        await memory.learn("olives", namespace="docs", metadata=left)
        (found,) = await store.asearch(DOCS, query="olives")
        assert (found.key, found.score) == ("k", pytest.approx(0, abs=0.5))


async def test_an_item_scores_as_its_best_text_and_comes_once():
    embedder = HashingEmbedder()
    async with open_memory() as memory:
        async with ChrysalisStore(memory, index={"fields": ["title", "parts[*].text"]}) as store:
            value = {"title": "a cat", "parts": [{"text": "a dog"}, {"text": "a black bird"}]}
            await store.aput(DOCS, "many", value)
            await store.aput(DOCS, "one", {"title": "a black cat"})
            found = await store.asearch(DOCS, query="black bird")
        query, bird, cat = await embedder.embed(["black bird", "a black bird", "a black cat"])
    assert [(item.key, item.score) for item in found] == [
        ("many", pytest.approx(float(query @ bird), abs=1e-6)),
        ("one", pytest.approx(float(query @ cat), abs=1e-6)),
    ]


def test_items_without_a_vector_fill_the_tail_newest_first(store: ChrysalisStore):
    store.put(DOCS, "b", {"text": "olives"})
    for key in ("old", "new"):
        store.put(DOCS, key, {"text": "olives"}, index=False)
    store.put(DOCS, "a", {"text": "olives, and more olives"})
    found = store.search(DOCS, query="olives")
    assert keys(found) == ["b", "a", "new", "old"]
    assert [item.score is None for item in found] == [False, False, True, True]
    assert keys(store.search(DOCS, query="olives", limit=2, offset=1)) == ["a", "new"]
    assert keys(store.search(DOCS, query=" ", limit=2)) == ["a", "new"]


def test_texts_that_are_no_longer_said_are_not_found(open_store: Callable[..., ChrysalisStore]):
    store = open_store(index={"fields": ["parts[*]"]})
    store.put(DOCS, "k", {"parts": ["one", "olives", "three"]})
    store.put(DOCS, "other", {"parts": ["cheese"]})
    best = store.search(DOCS, query="olives")[0]
    store.put(DOCS, "k", {"parts": ["one", " "]})
    after = {item.key: item.score for item in store.search(DOCS, query="olives")}
    assert best.key == "k"
    assert best.score == pytest.approx(1.0, abs=1e-6)
    assert after.keys() == {"k", "other"}
    assert after["k"] < 0.5
    store.put(DOCS, "k", {"parts": []})
    assert [(one.key, one.score is None) for one in store.search(DOCS, query="one")] == [
        ("other", False), ("k", True),
    ]  # fmt: skip


async def test_an_item_whose_record_was_taken_away_is_no_item_any_more():
    async with open_memory() as memory, ChrysalisStore(memory) as store:
        await store.aput(DOCS, "k", {"text": "olives"})
        await memory.update((await memory.find())[0].id, metadata={items.RECORD: None})
        assert await store.aget(DOCS, "k") is None
        assert await store.asearch(DOCS, query="olives") == []


def test_no_item_is_asked_for_with_a_limit_of_0_and_less_is_refused(store: ChrysalisStore):
    store.put(DOCS, "k", {"n": 1})
    assert store.search(DOCS, query="n", limit=0) == store.search(DOCS, limit=0, offset=3) == []
    for page in ({"limit": -1}, {"offset": -1}):
        with pytest.raises(InvalidValue, match="0 or more"):
            store.search(DOCS, **page)


# Time to live


def test_using_an_item_moves_its_expiry_and_nothing_else(open_store: Callable[..., ChrysalisStore]):
    store = open_store(ttl={"default_ttl": 60}, index={"fields": ["parts[*]"]})
    store.put(DOCS, "k", {"parts": ["one", "two"]})
    memory = store._anywhere.memory

    def expiries() -> set[Any]:
        return {one.expires_at for one in store._anywhere.run(memory.find)}

    first, before = expiries(), store.get(DOCS, "k", refresh_ttl=False)
    assert expiries() == first
    for use in (lambda: store.get(DOCS, "k"), lambda: store.search(DOCS, query="two")):
        earlier = expiries()
        use()
        assert min(expiries()) > max(earlier)
    assert store.get(DOCS, "k") == before


def test_expired_items_are_there_until_they_are_swept(open_store: Callable[..., ChrysalisStore]):
    store = open_store(index={"fields": ["parts[*]"]})
    store.put(DOCS, "gone", {"parts": ["one", "two"]}, ttl=NOW)
    store.put(DOCS, "later", {"parts": ["one"]}, ttl=60)
    store.put(DOCS, "never", {"parts": ["one"]})
    read: Any = {"refresh_ttl": False}
    assert keys(store.search(DOCS, **read)) == ["never", "later", "gone"]
    assert keys(store.search(DOCS, query="two", **read))[0] == "gone"
    assert store.sweep_ttl() == 1
    assert store.sweep_ttl() == 0
    assert store.get(DOCS, "gone") is None
    assert keys(store.search(DOCS)) == ["never", "later"]


def test_expired_items_are_left_out_where_that_is_asked_for(
    open_store: Callable[..., ChrysalisStore],
):
    store = open_store(ttl={"omit_expired": True})
    store.put(DOCS, "gone", {"text": "one"}, ttl=NOW)
    assert store.get(DOCS, "gone") is None
    assert store.search(DOCS) == store.search(DOCS, query="one") == []
    assert store.list_namespaces() == []


def test_an_item_that_is_put_without_a_ttl_lives_for_ever(store: ChrysalisStore):
    store.put(DOCS, "k", {"n": 1}, ttl=NOW)
    store.put(DOCS, "k", {"n": 1})
    assert store.sweep_ttl() == 0
    assert keys(store.search(DOCS)) == ["k"]
    store.put(DOCS, "k", {"n": 1}, ttl=60)
    store.put(DOCS, "k", {"n": 1})
    found = store._anywhere.run(store._memory.find)
    assert [one.expires_at for one in found] == [None]


async def test_the_sweeper_deletes_by_itself(open_store: Callable[..., ChrysalisStore]):
    store = open_store(ttl={"sweep_interval_minutes": 0.0001})
    await store.aput(DOCS, "gone", {"n": 1}, ttl=NOW)
    await store.aput(DOCS, "kept", {"n": 1}, ttl=60)
    await wait_until(lambda: store.get(DOCS, "gone", refresh_ttl=False) is None)
    assert keys(store.search(DOCS)) == ["kept"]


# Threads and loops


async def test_a_memory_on_the_calling_loop_is_awaited_and_never_waited_for():
    async with open_memory() as memory, ChrysalisStore(memory) as store:
        with pytest.raises(asyncio.InvalidStateError, match="await the async method"):
            store.put(DOCS, "k", {"n": 1})
        await asyncio.to_thread(store.put, DOCS, "k", {"n": 2})
        item = await store.aget(DOCS, "k")
        assert item is not None
        assert item.value == {"n": 2}


async def test_a_memory_that_was_started_stays_with_who_started_it():
    async with open_memory() as memory:
        async with ChrysalisStore(memory) as store:
            await store.aput(DOCS, "k", {"n": 1})
        assert await memory.count() == 1


async def test_two_stores_share_one_memory():
    memory = open_memory()
    with ChrysalisStore(memory) as first, ChrysalisStore(memory) as second:
        first.put(DOCS, "k", {"n": 1})
        assert keys(second.search(DOCS)) == ["k"]


def test_every_loop_and_every_thread_may_use_a_store(store: ChrysalisStore):
    async def put(number: int) -> None:
        await store.aput(DOCS, str(number), {"n": number})

    threads = [threading.Thread(target=lambda n=n: asyncio.run(put(n))) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(keys(store.search(DOCS))) == ["0", "1", "2", "3"]


def test_a_closed_store_says_so(store: ChrysalisStore):
    store.close()
    store.close()
    with pytest.raises(StoreClosed, match="closed"):
        store.get(DOCS, "k")


async def test_a_store_that_nobody_holds_lets_its_memory_go():
    memory = open_memory()
    store = ChrysalisStore(memory, ttl={"sweep_interval_minutes": 60})
    store.put(DOCS, "k", {"n": 1})
    del store
    gc.collect()
    await wait_until(lambda: memory.loop is None)


# Refusals


def test_an_embedder_beside_a_memory_is_refused():
    with pytest.raises(InvalidValue, match="has an embedder already"):
        ChrysalisStore(open_memory(), index={"embed": lambda texts: [[1.0]] * len(texts)})


def test_an_embedder_of_other_dimensions_is_refused(tmp_path: Path):
    index: Any = {"embed": lambda texts: [[1.0, 0.0]] * len(texts), "dims": 3}
    with (
        ChrysalisStore(tmp_path / "m.db", index=index) as store,
        pytest.raises(DimensionMismatch, match="dimension 3"),
    ):
        store.put(DOCS, "k", {"n": 1})


async def test_an_async_function_embeds_too(tmp_path: Path):
    async def embed(texts: list[str]) -> list[list[float]]:
        return [[1.0, float(len(text))] for text in texts]

    index: Any = {"embed": embed, "dims": 2, "fields": ["text"]}
    with ChrysalisStore(tmp_path / "m.db", index=index) as store:
        store.put(DOCS, "k", {"text": "four"})
        assert [item.score for item in store.search(DOCS, query="five")] == [pytest.approx(1.0)]


async def test_a_query_says_when_it_cannot_be_embedded_and_puts_are_kept(tmp_path: Path):
    def embed(texts: list[str]) -> list[list[float]]:
        raise OSError("no network")

    with ChrysalisStore(tmp_path / "m.db", index={"embed": embed, "dims": 2}) as store:
        store.put(DOCS, "k", {"n": 1})
        assert keys(store.search(DOCS)) == ["k"]
        with pytest.raises(EmbedderUnavailable, match="no network"):
            store.search(DOCS, query="n")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"x": "a" * 70_000}, "takes 70,008 bytes"),
        ({"x": float("nan")}, "not a JSON number"),
        ({"x": {1, 2}}, "not a JSON type"),
        ({1: "x"}, "key"),
    ],
)
def test_a_value_that_cannot_be_kept_is_refused(
    store: ChrysalisStore, value: dict[Any, Any], message: str
):
    with pytest.raises(InvalidValue, match=message):
        store.batch([PutOp(DOCS, "good", {}), PutOp(DOCS, "bad", value)])
    assert store.search(DOCS) == []


def test_a_file_that_is_no_memory_is_refused(tmp_path: Path):
    (tmp_path / "m.db").write_text("something else " * 100)
    with pytest.raises(NotADatabase):
        ChrysalisStore(tmp_path / "m.db")


@pytest.mark.parametrize(("module", "extra"), [("langgraph", "langgraph"),
                                               ("langchain_core", "langchain")])  # fmt: skip
def test_what_is_missing_is_named_with_the_command_that_installs_it(module: str, extra: str):
    code = (
        f"import sys; sys.modules[{module!r}] = None; import chrysalis_memory.integrations.{extra}"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 1
    assert f"pip install 'chrysalis-memory[{extra}]'" in ended.stderr
