"""Ranking by true vectors, the same on every engine."""

import numpy as np
from numpy.typing import NDArray

from chrysalis_memory.embedding import Vector
from chrysalis_memory.errors import StorageError

_COSINE_MAX = 1.01
"""Half precision and rounding make it a little more than 1."""


def cosines(vectors: NDArray[np.float32], vector: Vector) -> NDArray[np.float32]:
    """Return the dot product of each row with ``vector``.

    Row by row: a matrix product rounds equal rows differently by their place, and then equal
    vectors would not tie.

    Raises:
        StorageError: among the rows is none of a unit vector; the store is damaged.
    """
    return checked(np.vecdot(vectors, vector))


def checked(found: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return cosines of stored vectors as they are.

    Raises:
        StorageError: one is that of no unit vector; the store is damaged.
    """
    if len(found) and not -_COSINE_MAX <= found.min() <= found.max() <= _COSINE_MAX:  # or NaN
        raise StorageError(
            "among the stored vectors is one that is not of length 1: the store is damaged; "
            "chrysalis check --repair has such vectors made anew"
        )
    return found


def best_of(
    numbers: NDArray[np.int64], similarities: NDArray[np.float32], k: int
) -> list[tuple[int, float]]:
    """Return the ``k`` nearest memories and all that tie with the last, nearest first."""
    if len(numbers) > k:
        near = similarities >= np.partition(similarities, -k)[-k]
        numbers, similarities = numbers[near], similarities[near]
    order = np.argsort(-similarities, kind="stable")
    return list(zip(numbers[order].tolist(), similarities[order].tolist(), strict=True))
