"""What LangChain's standard tests do not ask of the adapters."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding, Embeddings

from chrysalis_memory import AgentMemory
from chrysalis_memory.errors import InvalidValue, StoreClosed
from chrysalis_memory.integrations.langchain import (
    ChrysalisEmbeddings,
    ChrysalisRetriever,
    ChrysalisVectorStore,
    LangChainEmbedder,
)
from embedders.errors import DimensionMismatch, EmbedderUnavailable, NotPrepared
from embedders.hashing import HashingEmbedder

TEXTS = ["the black cat sleeps", "the black cat eats", "the tax year ends", "a black bird sings"]


def open_memory(path: Path | str = ":memory:") -> AgentMemory:
    return AgentMemory("ada", path=path, embedder="hashing", synchronous="NORMAL")


@pytest.fixture
def store() -> Iterator[ChrysalisVectorStore]:
    store = ChrysalisVectorStore(open_memory())
    yield store
    store.close()


def ids(documents: list[Document]) -> list[str | None]:
    return [document.id for document in documents]


# Vector store


async def test_documents_are_memories(store: ChrysalisVectorStore):
    await store.aadd_texts(["Alice likes olives"], [{"stars": 5}], ids=["a"], tags=["food"])
    memory = store._memory
    (found,) = await store._anywhere.arun(lambda: memory.recall("olives"))
    assert (found.id, found.metadata, found.get_tags()) == ("a", {"stars": 5}, ["food"])


async def test_the_same_text_without_an_id_is_one_document(store: ChrysalisVectorStore):
    first, second = await store.aadd_texts(["the same", "the same"])
    assert first == second
    assert len(await store.asimilarity_search("same", 10)) == 1


def test_replacing_a_document_takes_back_what_is_no_longer_said(store: ChrysalisVectorStore):
    store.add_texts(["one"], [{"a": 1, "b": 2}], ids=["x"])
    store.add_documents([Document(id="x", page_content="two", metadata={"b": 3})])
    assert store.get_by_ids(["x"]) == [Document(id="x", page_content="two", metadata={"b": 3})]


def test_searches_obey_filters(store: ChrysalisVectorStore):
    store.add_texts(TEXTS, [{"n": n} for n in range(4)], ids=list("abcd"))
    store.add_texts(["a black hole"], ids=["e"], tags=["sky"])
    assert ids(store.similarity_search("black", 9, filter={"n": {"$gte": 1, "$lt": 3}})) in (
        ["b", "c"], ["c", "b"],
    )  # fmt: skip
    assert ids(store.similarity_search("cat", tags_any=["sky"])) == ["e"]
    with pytest.raises(InvalidValue, match="colour"):
        store.similarity_search("cat", colour="red")


def test_a_namespace_is_all_a_store_sees():
    memory = open_memory()
    everything, part = ChrysalisVectorStore(memory), ChrysalisVectorStore(memory, namespace="a/b")
    everything.add_texts(["a cat"], ids=["out"])
    part.add_texts(["a cat"], ids=["in"])
    assert ids(part.similarity_search("cat")) == ["in"]
    assert sorted(ids(everything.similarity_search("cat"))) == ["in", "out"]
    everything.close()


async def test_scores_are_cosines_and_relevance_lies_between_0_and_1(store: ChrysalisVectorStore):
    await store.aadd_texts(TEXTS, ids=list("abcd"))
    query, *vectors = await HashingEmbedder().embed(["black cat", *TEXTS])
    cosines = {name: float(query @ v) for name, v in zip("abcd", vectors, strict=True)}
    for found in (
        await store.asimilarity_search_with_score("black cat", 4),
        store.similarity_search_with_score("black cat", 4),
    ):
        assert {one.id: score for one, score in found} == pytest.approx(cosines, abs=1e-6)
        assert [score for _, score in found] == sorted(cosines.values(), reverse=True)
    relevant = store.similarity_search_with_relevance_scores("black cat", score_threshold=0.0001)
    assert {one.id for one, _ in relevant} == {name for name, c in cosines.items() if c >= 0.0001}
    assert all(0 <= score <= 1 for _, score in relevant)
    assert store._select_relevance_score_fn()(-0.5) == 0


async def test_a_vector_finds_what_its_text_finds(store: ChrysalisVectorStore):
    store.add_texts(TEXTS, ids=list("abcd"))
    vector = (await HashingEmbedder().embed(["black cat"]))[0].tolist()
    of_text = ids(store.similarity_search("black cat"))
    assert ids(store.similarity_search_by_vector(vector)) == of_text
    assert ids(await store.asimilarity_search_by_vector(vector)) == of_text
    with pytest.raises(DimensionMismatch):
        store.similarity_search_by_vector([1.0, 2.0])


async def test_marginal_relevance_prefers_documents_unlike_each_other(store: ChrysalisVectorStore):
    twins = ["the black cat sleeps here", "the black cat sleeps here."]
    store.add_texts([*twins, "a black bird"], ids=["a", "b", "c"])
    vector = (await HashingEmbedder().embed(["the black cat sleeps"]))[0].tolist()
    for search, query in (
        (store.max_marginal_relevance_search, "the black cat sleeps"),
        (store.max_marginal_relevance_search_by_vector, vector),
    ):
        assert ids(search(query, 2, lambda_mult=1)) == ["a", "b"]
        assert ids(search(query, 2, lambda_mult=0.2)) == ["a", "c"]
        assert ids(search(query, 2, fetch_k=2, lambda_mult=0.2)) == ["a", "b"]
    for found in (
        await store.amax_marginal_relevance_search("the black cat sleeps", 2, lambda_mult=0.2),
        await store.amax_marginal_relevance_search_by_vector(vector, 2, lambda_mult=0.2),
    ):
        assert ids(found) == ["a", "c"]


async def test_a_store_is_made_of_texts(tmp_path: Path):
    embedding = DeterministicFakeEmbedding(size=8)
    here = ChrysalisVectorStore.from_texts(["one"], embedding, [{"n": 1}], ids=["x"])
    there = await ChrysalisVectorStore.afrom_documents(
        [Document(id="y", page_content="two")], embedding, memory=tmp_path / "m.db"
    )
    assert here.similarity_search("one") == [
        Document(id="x", page_content="one", metadata={"n": 1})
    ]
    assert here.embeddings is embedding
    assert ids(await there.asimilarity_search("two")) == ["y"]
    here.close()
    there.close()
    assert (tmp_path / "m.db").exists()


def test_it_serves_as_a_retriever(store: ChrysalisVectorStore):
    store.add_texts(TEXTS, ids=list("abcd"))
    retriever = store.as_retriever(search_type="mmr", search_kwargs={"k": 2})
    assert ids(retriever.invoke("the black cat sleeps"))[0] == "a"


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda store: store.delete(), "give the ids"),
        (lambda store: store.add_texts(["a", "b"], [{}]), "2 texts, 1 metadatas"),
        (lambda store: store.add_texts(["a"], ids=["x", "y"]), "1 texts, 1 metadatas and 2 ids"),
        (lambda store: store.add_texts(["a"], [{"n": object()}]), "not a JSON type"),
        (lambda store: ChrysalisVectorStore(store._memory, embedding=DeterministicFakeEmbedding(
            size=2)), "has an embedder already"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_refused(store: ChrysalisVectorStore, act: Any, message: str):
    with pytest.raises(InvalidValue, match=message):
        act(store)
    assert store.similarity_search("a") == []


def test_a_closed_store_says_so(store: ChrysalisVectorStore):
    store.close()
    with pytest.raises(StoreClosed):
        store.similarity_search("cat")


# Retriever


async def test_a_retriever_recalls_with_a_score_and_why():
    async with open_memory() as memory:
        await memory.learn_many(TEXTS)
        await memory.learn("cats", id="tagged", tags=["t"], metadata={"n": 1})
        retriever = ChrysalisRetriever(memory=memory, k=2, options={"mode": "keyword"})
        found = await retriever.ainvoke("black cat")
        wanted = await memory.recall("black cat", 2, mode="keyword", track=False)
        assert [document.page_content for document in found] == [one.content for one in wanted]
        scores = [document.metadata["score"] for document in found]
        assert scores == pytest.approx([one.score for one in wanted])  # which fade with time
        assert found[0].metadata["explanation"]["keyword"] == wanted[0].explanation.keyword
        (tagged,) = await retriever.ainvoke("cats", tags_any=["t"], mode="hybrid")
        assert (tagged.id, tagged.metadata["n"]) == ("tagged", 1)


def test_a_retriever_opens_a_file_and_closes_it(tmp_path: Path):
    store = ChrysalisVectorStore(open_memory(tmp_path / "m.db"))
    store.add_texts(TEXTS)
    store.close()
    retriever = ChrysalisRetriever(memory=tmp_path / "m.db", k=1)
    assert [one.page_content for one in retriever.invoke("a bird")] == ["a black bird sings"]
    retriever.close()
    with pytest.raises(StoreClosed):
        retriever.invoke("a bird")


# Embeddings


class Sided(Embeddings):
    """Embeds queries unlike documents."""

    model = "sided-1"

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [[2.0, 0.0] for _ in texts]

    def embed_query(self, text: str) -> list[float]:
        if text == "broken":
            raise OSError("no network")
        return [0.0, 3.0]


async def test_queries_and_documents_are_embedded_each_in_its_way():
    embedder = LangChainEmbedder(Sided())
    with pytest.raises(NotPrepared):
        embedder.fingerprint  # noqa: B018 - asks
    await embedder.prepare()
    assert embedder.fingerprint.startswith("langchain/Sided:sided-1/2/")
    assert (await embedder.embed(["a", "b"])).tolist() == [[1, 0], [1, 0]]
    assert (await embedder.embed(["a"], input_type="query")).tolist() == [[0, 1]]
    assert (await embedder.embed([])).shape == (0, 2)
    with pytest.raises(EmbedderUnavailable, match="no network"):
        await embedder.embed(["broken"], input_type="query")


async def test_embeddings_made_of_an_embedder_give_its_vectors_on_every_loop():
    embeddings = ChrysalisEmbeddings("hashing")
    wanted = (await HashingEmbedder().embed(["a cat"])).tolist()
    assert embeddings.embed_documents(["a cat"]) == wanted
    assert await embeddings.aembed_documents(["a cat"]) == wanted
    assert await embeddings.aembed_query("a cat") == wanted[0]
    of_another_loop = await asyncio.to_thread(lambda: asyncio.run(embeddings.aembed_query("a cat")))
    assert of_another_loop == wanted[0]
    assert (await LangChainEmbedder(embeddings).embed(["a cat"]))[0] == pytest.approx(wanted[0])
