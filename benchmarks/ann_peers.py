"""Other engines of vector search, those that are installed: each a function from vector to rows."""

import importlib.util
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Search = Callable[[np.ndarray], list[int]]


def engines(vectors: np.ndarray, folder: Path) -> dict[str, Search]:
    """Build every engine that is installed, and say how long each took."""
    made: dict[str, Search] = {}
    for module, (name, start) in PEERS.items():
        if importlib.util.find_spec(module) is None:
            print(f"  {name}: not installed")
            continue
        began = time.perf_counter()
        made[name] = start(vectors, folder)
        print(f"  {name}: built in {time.perf_counter() - began:.1f} s", flush=True)
    return made


def hnswlib(vectors: np.ndarray, _: Path) -> Search:
    import hnswlib as library

    index = library.Index(space="ip", dim=vectors.shape[1])
    index.init_index(len(vectors), M=16, ef_construction=200)
    index.set_num_threads(2)
    index.add_items(vectors)
    index.set_num_threads(1)
    index.set_ef(100)
    return lambda vector: index.knn_query(vector, 10)[0][0].tolist()


def faiss(vectors: np.ndarray, _: Path) -> Search:
    import faiss as library

    library.omp_set_num_threads(2)
    index = library.IndexHNSWFlat(vectors.shape[1], 16, library.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction = 200
    index.add(vectors)
    index.hnsw.efSearch = 100
    library.omp_set_num_threads(1)
    return lambda vector: index.search(vector[None], 10)[1][0].tolist()


def chromadb(vectors: np.ndarray, folder: Path) -> Search:
    import chromadb as library

    settings = library.Settings(anonymized_telemetry=False)
    client = library.PersistentClient(str(folder / "chroma"), settings)
    space: Any = {"hnsw:space": "cosine"}
    collection = client.create_collection("vectors", metadata=space, embedding_function=None)
    for start in range(0, len(vectors), 5000):
        part = vectors[start : start + 5000]
        ids = [str(start + i) for i in range(len(part))]
        collection.add(ids=ids, embeddings=part)

    def search(vector: np.ndarray) -> list[int]:
        found = collection.query(query_embeddings=vector[None], n_results=10, include=[])
        return [int(name) for name in found["ids"][0]]

    return search


def lancedb(vectors: np.ndarray, folder: Path) -> Search:
    import lancedb as library
    import pyarrow

    flat = pyarrow.array(vectors.reshape(-1))
    column = pyarrow.FixedSizeListArray.from_arrays(flat, vectors.shape[1])
    rows = pyarrow.table({"id": np.arange(len(vectors)), "vector": column})
    table = library.connect(str(folder / "lance")).create_table("v", rows)
    table.create_index(metric="cosine", index_type="IVF_HNSW_SQ")

    def search(vector: np.ndarray) -> list[int]:
        found = table.search(vector).limit(10).ef(100).refine_factor(2).select(["id"])
        return found.to_arrow()["id"].to_pylist()

    return search


PEERS: dict[str, tuple[str, Callable[[np.ndarray, Path], Search]]] = {
    "hnswlib": ("hnswlib", hnswlib),
    "faiss": ("faiss HNSW", faiss),
    "chromadb": ("chromadb", chromadb),
    "lancedb": ("lancedb HNSW_SQ", lancedb),
}
