"""Ranking by true vectors, the same on every engine."""

from operator import itemgetter

import numpy as np
from numpy.typing import NDArray

from chrysalis_memory.embedding import Vector


def cosines(vectors: NDArray[np.float32], vector: Vector) -> NDArray[np.float32]:
    """Return the dot product of each row with ``vector``.

    Row by row: a matrix product rounds equal rows differently by their place, and then equal
    vectors would not tie.
    """
    return np.vecdot(vectors, vector)


def best_of(similarities: dict[int, float], k: int) -> list[tuple[int, float]]:
    """Return the ``k`` nearest and all that tie with the last, nearest first."""
    ranked = sorted(similarities.items(), key=itemgetter(1), reverse=True)
    if len(ranked) <= k:
        return ranked
    last = ranked[k - 1][1]
    return [pair for pair in ranked if pair[1] >= last]
