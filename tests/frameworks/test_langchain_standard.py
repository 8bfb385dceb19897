"""LangChain's own standard tests, run against our vector store, retriever and embeddings."""

from collections.abc import Iterator
from typing import Any

import pytest
from langchain_core.embeddings import Embeddings
from langchain_core.retrievers import BaseRetriever
from langchain_core.vectorstores import VectorStore
from langchain_tests.integration_tests import (
    EmbeddingsIntegrationTests,
    RetrieversIntegrationTests,
    VectorStoreIntegrationTests,
)
from langchain_tests.unit_tests import EmbeddingsUnitTests

from chrysalis_memory import AgentMemory
from chrysalis_memory.integrations.langchain import (
    ChrysalisEmbeddings,
    ChrysalisRetriever,
    ChrysalisVectorStore,
    LangChainEmbedder,
)


class TestVectorStore(VectorStoreIntegrationTests):
    @pytest.fixture
    def vectorstore(self) -> Iterator[VectorStore]:
        store = ChrysalisVectorStore(":memory:", embedding=self.get_embeddings())
        yield store
        store.close()


class TestVectorStoreOnAMemory(VectorStoreIntegrationTests):
    """On a memory with an embedder of its own, within a namespace."""

    @pytest.fixture
    def vectorstore(self) -> Iterator[VectorStore]:
        embedder = LangChainEmbedder(self.get_embeddings())
        memory = AgentMemory("ada", path=":memory:", embedder=embedder)
        store = ChrysalisVectorStore(memory, namespace="documents")
        yield store
        store.close()


class TestRetriever(RetrieversIntegrationTests):
    @pytest.fixture(autouse=True)
    def _filled(self, tmp_path: Any) -> Iterator[None]:
        memory = AgentMemory("ada", path=tmp_path / "ada.db", embedder="hashing")
        self._params = {"memory": memory}
        texts = ["the cat sleeps", "the dog barks", "the cat eats", "a bird sings"]
        with_texts = ChrysalisVectorStore(memory)
        with_texts.add_texts(texts)
        yield
        with_texts.close()

    @property
    def retriever_constructor(self) -> type[BaseRetriever]:
        return ChrysalisRetriever

    @property
    def retriever_constructor_params(self) -> dict[str, Any]:
        return self._params

    @property
    def retriever_query_example(self) -> str:
        return "what does the cat do?"


class TestEmbeddingsUnit(EmbeddingsUnitTests):
    @property
    def embeddings_class(self) -> type[Embeddings]:
        return ChrysalisEmbeddings


class TestEmbeddings(EmbeddingsIntegrationTests):
    @property
    def embeddings_class(self) -> type[Embeddings]:
        return ChrysalisEmbeddings

    @property
    def embedding_model_params(self) -> dict[str, Any]:
        return {"embedder": "minilm"}
