"""Vectors to search among: real sentences, and more of the same spectrum."""

import asyncio
from pathlib import Path

import numpy as np
from sentences import queries, sentences

from embedders import resolve

REAL = 10_000


def real(cache: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return the vectors of 10,000 sentences and 300 queries, embedded once and kept in files."""
    kept = cache / "ann_x.npy", cache / "ann_q.npy"
    if not all(file.exists() for file in kept):
        texts = sentences(REAL)
        for file, made in zip(kept, asyncio.run(_embed(texts)), strict=True):
            np.save(file, made)
    return np.load(kept[0]), np.load(kept[1])


async def _embed(texts: list[str]) -> tuple[np.ndarray, np.ndarray]:
    embedder = resolve("minilm")
    await embedder.prepare()
    asked = await embedder.embed(queries(texts, 300), input_type="query")
    parts = [await embedder.embed(texts[i : i + 500]) for i in range(0, len(texts), 500)]
    await embedder.close()
    return np.vstack(parts), asked


def enlarged(vectors: np.ndarray, size: int, *, seed: int = 1) -> np.ndarray:
    """Return ``size`` unit vectors: the real ones, then made ones.

    A made vector is a mixture of two real ones (the first weighs .5 to 1) plus noise with the
    covariance of the real ones, scaled by .3: it lies where text lies, and has its spectrum.
    """
    if size <= len(vectors):
        return np.ascontiguousarray(vectors[:size])
    chance = np.random.default_rng(seed)
    _, spread, axes = np.linalg.svd(vectors - vectors.mean(0), full_matrices=False)
    noise = (0.3 * spread[:, None] / np.sqrt(len(vectors)) * axes).astype(np.float32)
    out = np.empty((size, vectors.shape[1]), np.float32)
    out[: len(vectors)] = vectors
    for start in range(len(vectors), size, 50_000):
        part = out[start : start + 50_000]
        one, other = chance.integers(0, len(vectors), (2, len(part)))
        weight = chance.uniform(0.5, 1.0, (len(part), 1)).astype(np.float32)
        part[:] = weight * vectors[one] + (1 - weight) * vectors[other]
        part += chance.standard_normal((len(part), len(noise)), np.float32) @ noise
        part /= np.linalg.norm(part, axis=1, keepdims=True)
    return out
