"""A memory as LangChain's vector store and retriever; embedders both ways (extra ``langchain``)."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Self, TypeVar

from pydantic import ConfigDict, Field, PrivateAttr

from chrysalis_memory.agent import AgentMemory
from chrysalis_memory.diversity import unlike
from chrysalis_memory.document import MemoryDocument
from chrysalis_memory.errors import ChrysalisError, InvalidValue
from chrysalis_memory.integrations.anywhere import Anywhere, MemoryOrPath, memory_at
from chrysalis_memory.integrations.langchain_embeddings import (
    ChrysalisEmbeddings,
    LangChainEmbedder,
)
from chrysalis_memory.query import Conditions
from chrysalis_memory.recall import Recollection
from chrysalis_memory.relations import Near

try:
    from langchain_core.callbacks import (
        AsyncCallbackManagerForRetrieverRun,
        CallbackManagerForRetrieverRun,
    )
    from langchain_core.documents import Document
    from langchain_core.embeddings import Embeddings
    from langchain_core.retrievers import BaseRetriever
    from langchain_core.vectorstores import VectorStore
except ImportError as error:
    raise ChrysalisError(
        f"the LangChain adapters need the module {error.name!r}, which is not installed: "
        "pip install 'chrysalis-memory[langchain]'"
    ) from error

__all__ = ["ChrysalisEmbeddings", "ChrysalisRetriever", "ChrysalisVectorStore", "LangChainEmbedder"]

T = TypeVar("T")


class ChrysalisVectorStore(VectorStore):
    """LangChain's vector store on an agent's memory: each document is a memory.

    Scores are cosines. Every search takes ``filter``, metadata as :class:`Filter` takes them, and
    the other fields of :class:`Filter`.

    Args:
        memory: A memory, or the file or database to open one on; ``":memory:"`` is a private
            temporary file. A memory that is started stays with whoever started it; any other is
            stopped by :meth:`close`.
        embedding: What embeds, where ``memory`` is a path; by default as :class:`AgentMemory`.
        agent_id: Who writes, where ``memory`` is a path.
        namespace: Where documents are added, and where, with all below it, searches look; by
            default everywhere.

    Raises:
        InvalidValue: ``embedding`` beside a memory, which has an embedder already.
        ChrysalisError: what :meth:`AgentMemory.start` raises.
    """

    def __init__(
        self,
        memory: MemoryOrPath,
        *,
        embedding: Embeddings | None = None,
        agent_id: str = "langchain",
        namespace: str | None = None,
    ) -> None:
        if embedding is not None and isinstance(memory, AgentMemory):
            raise InvalidValue(
                "embedding is for a store on a path; this memory has an embedder already"
            )
        embedder = None if embedding is None else LangChainEmbedder(embedding)
        self._embedding = embedding
        self._namespace = namespace
        self._anywhere = Anywhere(memory_at(memory, agent_id=agent_id, embedder=embedder))
        self._memory = self._anywhere.memory

    @property
    def embeddings(self) -> Embeddings | None:
        """The embeddings that were given."""
        return self._embedding

    def close(self) -> None:
        """Stop the memory if the store started it; closing twice is allowed."""
        self._anywhere.close()

    # Writing

    async def aadd_texts(
        self,
        texts: Iterable[str],
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: Sequence[str | None] | None = None,
        **kwargs: Any,
    ) -> list[str]:
        """Add texts, or replace those with known ids; without an id the same text is one document.

        Args:
            texts: The texts.
            metadatas: JSON values by key, for each text; a ``None`` in them is as absent.
            ids: Ids, for each text.
            **kwargs: Further fields of :class:`NewMemory` for all, such as ``tags``.

        Raises:
            InvalidValue: not as many metadatas or ids as texts, or a value that is refused.
        """
        contents = list(texts)
        fields = metadatas or [{} for _ in contents]
        names = ids or [None] * len(contents)
        if not len(contents) == len(fields) == len(names):
            raise InvalidValue(
                f"got {len(contents)} texts, {len(fields)} metadatas and {len(names)} ids; "
                "give as many of each, or none"
            )
        return await self._anywhere.arun(lambda: self._add(contents, fields, names, kwargs))

    async def _add(
        self,
        texts: Sequence[str],
        metadatas: Sequence[dict[str, Any]],
        ids: Sequence[str | None],
        further: dict[str, Any],
    ) -> list[str]:
        where = {} if self._namespace is None else {"namespace": self._namespace}
        names = [one for one in ids if one is not None]
        known = zip(names, await _all(map(self._memory.get, names)), strict=True)
        left = {
            name: dict.fromkeys(memory.metadata) for name, memory in known if memory is not None
        }
        return await self._memory.learn_many(
            {
                "content": text,
                "id": memory_id,
                # Learning joins; to replace, what is no longer said is taken back by ``None``.
                "metadata": left.get(memory_id or "", {}) | metadata,
                **where,
                **further,
            }
            for text, metadata, memory_id in zip(texts, metadatas, ids, strict=True)
        )

    def add_texts(
        self,
        texts: Iterable[str],
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: Sequence[str | None] | None = None,
        **kwargs: Any,
    ) -> list[str]:
        """Do as :meth:`aadd_texts`."""
        return self._run(lambda: self.aadd_texts(texts, metadatas, ids=ids, **kwargs))

    async def adelete(self, ids: Sequence[str] | None = None, **_: Any) -> bool:
        """Forget documents by id, here and, by merging, everywhere; unknown ids are passed over.

        Raises:
            InvalidValue: no ids; a store shares its memory with others, so none deletes it all.
        """
        if ids is None:
            raise InvalidValue("give the ids of what to delete; a memory is not deleted as a whole")
        chosen = list(ids)
        await self._anywhere.arun(lambda: _all(map(self._memory.forget, chosen)))
        return True

    def delete(self, ids: Sequence[str] | None = None, **kwargs: Any) -> bool:
        """Do as :meth:`adelete`."""
        return self._run(lambda: self.adelete(ids, **kwargs))

    # Reading

    async def aget_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        """Return the documents with these ids, in their order; unknown ids are passed over."""
        return [_document(one) for one in await self._anywhere.arun(lambda: self._get(ids))]

    def get_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        """Do as :meth:`aget_by_ids`."""
        return self._run(lambda: self.aget_by_ids(ids))

    async def _get(self, ids: Iterable[str]) -> list[MemoryDocument]:
        found = await _all(map(self._memory.get, ids))
        return [memory for memory in found if memory is not None]

    async def asimilarity_search_with_score(
        self, query: str, k: int = 4, **kwargs: Any
    ) -> list[tuple[Document, float]]:
        """Return the documents nearest to a text, each with the cosine, nearest first."""
        near = await self._nearest(query, k, kwargs)
        return [(_document(one.memory), one.similarity) for one in near]

    def similarity_search_with_score(
        self, query: str, k: int = 4, **kwargs: Any
    ) -> list[tuple[Document, float]]:
        """Do as :meth:`asimilarity_search_with_score`."""
        return self._run(lambda: self.asimilarity_search_with_score(query, k, **kwargs))

    async def asimilarity_search(self, query: str, k: int = 4, **kwargs: Any) -> list[Document]:
        """Return the documents nearest to a text, nearest first."""
        return [_document(one.memory) for one in await self._nearest(query, k, kwargs)]

    def similarity_search(self, query: str, k: int = 4, **kwargs: Any) -> list[Document]:
        """Do as :meth:`asimilarity_search`."""
        return self._run(lambda: self.asimilarity_search(query, k, **kwargs))

    async def asimilarity_search_by_vector(
        self, embedding: list[float], k: int = 4, **kwargs: Any
    ) -> list[Document]:
        """Return the documents nearest to a vector, nearest first."""
        return [_document(one.memory) for one in await self._nearest(embedding, k, kwargs)]

    def similarity_search_by_vector(
        self, embedding: list[float], k: int = 4, **kwargs: Any
    ) -> list[Document]:
        """Do as :meth:`asimilarity_search_by_vector`."""
        return self._run(lambda: self.asimilarity_search_by_vector(embedding, k, **kwargs))

    async def _unlike(
        self, query: str | list[float], k: int, fetch_k: int, lambda_mult: float, **kwargs: Any
    ) -> list[Document]:
        near = await self._nearest(query, fetch_k, kwargs, with_vectors=True)
        chosen = unlike(
            [one.similarity for one in near],
            [one.vector for one in near],
            diversity=1 - lambda_mult,
            k=k,
        )
        return [_document(near[place].memory) for place in chosen]

    async def amax_marginal_relevance_search(
        self, query: str, k: int = 4, fetch_k: int = 20, lambda_mult: float = 0.5, **kwargs: Any
    ) -> list[Document]:
        """Return ``k`` of the ``fetch_k`` nearest to a text that are unlike each other."""
        return await self._unlike(query, k, fetch_k, lambda_mult, **kwargs)

    def max_marginal_relevance_search(
        self, query: str, k: int = 4, fetch_k: int = 20, lambda_mult: float = 0.5, **kwargs: Any
    ) -> list[Document]:
        """Do as :meth:`amax_marginal_relevance_search`."""
        return self._run(lambda: self._unlike(query, k, fetch_k, lambda_mult, **kwargs))

    async def amax_marginal_relevance_search_by_vector(
        self,
        embedding: list[float],
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        **kwargs: Any,
    ) -> list[Document]:
        """Return ``k`` of the ``fetch_k`` nearest to a vector that are unlike each other."""
        return await self._unlike(embedding, k, fetch_k, lambda_mult, **kwargs)

    def max_marginal_relevance_search_by_vector(
        self,
        embedding: list[float],
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        **kwargs: Any,
    ) -> list[Document]:
        """Do as :meth:`amax_marginal_relevance_search_by_vector`."""
        return self._run(lambda: self._unlike(embedding, k, fetch_k, lambda_mult, **kwargs))

    async def _nearest(
        self, query: str | list[float], k: int, given: dict[str, Any], *, with_vectors: bool = False
    ) -> list[Near]:
        conditions: Conditions = {}
        if self._namespace is not None:
            conditions["namespace_prefix"] = self._namespace
        if given.get("filter") is not None:
            conditions["metadata"] = given["filter"]
        further: Any = {name: value for name, value in given.items() if name != "filter"}
        return await self._anywhere.arun(
            lambda: self._memory.nearest(
                query, k, with_vectors=with_vectors, **(conditions | further)
            )
        )

    def _select_relevance_score_fn(self) -> Callable[[float], float]:
        return lambda cosine: min(1.0, max(0.0, cosine))

    def _run(self, work: Callable[[], Awaitable[T]]) -> T:
        return self._anywhere.run(work)

    # Making

    @classmethod
    def from_texts(
        cls,
        texts: list[str],
        embedding: Embeddings | None = None,
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: Sequence[str | None] | None = None,
        memory: MemoryOrPath = ":memory:",
        **kwargs: Any,
    ) -> Self:
        """Return a store that holds these texts, by default in a private temporary file."""
        store = cls(memory, embedding=embedding, **kwargs)
        store.add_texts(texts, metadatas, ids=ids)
        return store

    @classmethod
    async def afrom_texts(
        cls,
        texts: list[str],
        embedding: Embeddings | None = None,
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: Sequence[str | None] | None = None,
        memory: MemoryOrPath = ":memory:",
        **kwargs: Any,
    ) -> Self:
        """Do as :meth:`from_texts`."""
        store = cls(memory, embedding=embedding, **kwargs)
        await store.aadd_texts(texts, metadatas, ids=ids)
        return store


class ChrysalisRetriever(BaseRetriever):
    """LangChain's retriever on :meth:`AgentMemory.recall`: by meaning, words, importance and use.

    Each document's metadata hold the memory's own, and with them ``score`` and ``explanation``.
    What ``invoke`` is given beside the query wins over ``k`` and ``options``.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")

    memory: MemoryOrPath
    """As for :class:`ChrysalisVectorStore`."""
    agent_id: str = "langchain"
    k: int = 5
    """How many documents to return."""
    options: dict[str, Any] = Field(default_factory=dict)
    """What ``recall`` takes besides, such as ``mode``, ``min_score`` and conditions."""
    _anywhere: Anywhere = PrivateAttr()

    def model_post_init(self, context: Any, /) -> None:
        """Start the memory, unless it is started."""
        super().model_post_init(context)
        self._anywhere = Anywhere(memory_at(self.memory, agent_id=self.agent_id, embedder=None))

    def close(self) -> None:
        """Stop the memory if the retriever started it; closing twice is allowed."""
        self._anywhere.close()

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun, **kwargs: Any
    ) -> list[Document]:
        return self._anywhere.run(lambda: self._recall(query, kwargs))

    async def _aget_relevant_documents(
        self, query: str, *, run_manager: AsyncCallbackManagerForRetrieverRun, **kwargs: Any
    ) -> list[Document]:
        return await self._anywhere.arun(lambda: self._recall(query, kwargs))

    async def _recall(self, query: str, given: dict[str, Any]) -> list[Document]:
        options: Any = {"k": self.k, **self.options, **given}
        return [_document(one) for one in await self._anywhere.memory.recall(query, **options)]


async def _all(work: Iterable[Awaitable[T]]) -> list[T]:
    return await asyncio.gather(*work)


def _document(memory: MemoryDocument) -> Document:
    metadata = memory.metadata
    if isinstance(memory, Recollection):
        metadata |= {"score": memory.score, "explanation": memory.explanation.to_dict()}
    return Document(id=memory.id, page_content=memory.content, metadata=metadata)
