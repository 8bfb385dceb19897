"""Vectors of many dimensions as points that can be drawn."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chrysalis_memory.codec import shown
from chrysalis_memory.errors import InvalidValue

_DIGITS_LOST = 1e-12
"""Variance below this share of the whole is rounding error."""


class Projection(NamedTuple):
    """Points in few dimensions, and how much of the vectors they show."""

    points: NDArray[np.float64]
    """``(n, count)``: one row for each vector; their mean is the origin."""
    explained: NDArray[np.float64]
    """``(count,)``: each component's share of the variance, 0 to 1, greatest first."""


def principal_components(vectors: ArrayLike, count: int = 2) -> Projection:
    """Project vectors on the directions in which they differ most (Pearson 1901).

    The same vectors always give the same points: of each direction, which has no sign of its own,
    the coordinate that is largest without its sign is made positive. Where the vectors differ in
    fewer directions than ``count``, the other components are 0.

    Args:
        vectors: ``(n, dimension)``; none at all will do.
        count: How many components, 1 or more.

    Raises:
        InvalidValue: no matrix of finite numbers, or a count below 1.
    """
    if type(count) is not int or count < 1:
        raise InvalidValue(f"count must be an integer of 1 or more, got {shown(count)}")
    rows = np.asarray(vectors, dtype=np.float64)
    if rows.size == 0:
        return Projection(np.zeros((len(rows), count)), np.zeros(count))
    if rows.ndim != 2 or not np.isfinite(rows).all():
        raise InvalidValue(f"vectors are rows of finite numbers, got the shape {rows.shape}")
    centred = rows - rows.mean(axis=0)
    directions, variances = _directions(centred)
    total = variances.sum()
    points, explained = np.zeros((len(rows), count)), np.zeros(count)
    found = min(count, int((variances > _DIGITS_LOST * total).sum())) if total else 0
    points[:, :found] = centred @ directions[:, :found]
    explained[:found] = variances[:found] / total if total else 0.0
    return Projection(points, explained)


def _directions(centred: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return unit directions as columns, and the squared spread along each, greatest first."""
    rows, dimension = centred.shape
    # Both matrices have the same eigenvalues; the smaller one is far cheaper.
    if rows < dimension:
        squared, mixed = np.linalg.eigh(centred @ centred.T)
        directions = centred.T @ mixed
        lengths = np.linalg.norm(directions, axis=0)
        directions /= np.where(lengths > 0, lengths, 1.0)
    else:
        squared, directions = np.linalg.eigh(centred.T @ centred)
    variances, directions = np.maximum(squared[::-1], 0.0), directions[:, ::-1]
    largest = np.abs(directions).argmax(axis=0)
    signs = np.sign(directions[largest, np.arange(directions.shape[1])])
    return directions * np.where(signs == 0, 1.0, signs), variances
