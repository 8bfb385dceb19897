"""Ranking by true vectors, the same on every engine."""

from operator import itemgetter

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
    found = np.vecdot(vectors, vector)
    if len(found) and not -_COSINE_MAX <= found.min() <= found.max() <= _COSINE_MAX:  # or NaN
        raise StorageError(
            "among the stored vectors is one that is not of length 1: the store is damaged; "
            "chrysalis check --repair has such vectors made anew"
        )
    return found


def best_of(similarities: dict[int, float], k: int) -> list[tuple[int, float]]:
    """Return the ``k`` nearest and all that tie with the last, nearest first."""
    ranked = sorted(similarities.items(), key=itemgetter(1), reverse=True)
    if len(ranked) <= k:
        return ranked
    last = ranked[k - 1][1]
    return [pair for pair in ranked if pair[1] >= last]
