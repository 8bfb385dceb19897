"""Vectors become points: always the same ones, that show as much of the vectors as points can."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chrysalis_memory.errors import InvalidValue
from chrysalis_memory.projection import principal_components

RANDOM = np.random.default_rng(7)


def by_svd(vectors: Any, count: int) -> tuple[Any, Any]:
    """Return the same by another way of computing it."""
    centred = vectors - vectors.mean(axis=0)
    _, singular, directions = np.linalg.svd(centred, full_matrices=False)
    for row in directions:
        row *= np.sign(row[np.abs(row).argmax()])
    return centred @ directions[:count].T, (singular**2 / (singular**2).sum())[:count]


@pytest.mark.parametrize("shape", [(50, 8), (8, 50), (9, 9), (3, 384)])
@pytest.mark.parametrize("count", [1, 2])
def test_points_are_those_of_a_singular_value_decomposition(shape: tuple[int, int], count: int):
    vectors = RANDOM.normal(size=shape)
    points, explained = principal_components(vectors, count)
    wanted, shares = by_svd(vectors, count)

    assert np.allclose(points, wanted, atol=1e-9)
    assert np.allclose(explained, shares, atol=1e-12)


def test_points_on_a_line_are_drawn_on_a_line():
    points, explained = principal_components([[0, 0, 0], [1, 2, 2], [2, 4, 4]])

    assert np.allclose(points, [[-3, 0], [0, 0], [3, 0]])
    assert np.allclose(explained, [1, 0])


def test_the_largest_coordinate_of_a_direction_is_positive():
    rows = np.array([[0.0, 0, 0], [1, -5, 1]])

    assert np.allclose(principal_components(rows).points[:, 0], [np.sqrt(27) / 2, -np.sqrt(27) / 2])


@pytest.mark.parametrize("vectors", [np.empty((0, 0)), np.empty((0, 384)), []])
def test_no_vectors_give_no_points(vectors: Any):
    points, explained = principal_components(vectors)

    assert (points.shape, explained.tolist()) == ((0, 2), [0, 0])


@pytest.mark.parametrize("vectors", [[[1.0, 2.0]], [[1.0, 2.0]] * 5, [[0.0]] * 3])
def test_vectors_that_do_not_differ_lie_at_the_origin(vectors: Any):
    points, explained = principal_components(vectors)

    assert points.tolist() == [[0, 0]] * len(vectors)
    assert explained.tolist() == [0, 0]


@pytest.mark.parametrize(
    ("vectors", "count", "message"),
    [
        ([1.0, 2.0], 2, "rows of finite numbers"),
        ([[1.0, float("nan")]], 2, "rows of finite numbers"),
        ([[1.0, 2.0]], 0, "an integer of 1 or more"),
    ],
)
def test_what_are_no_vectors_is_refused(vectors: Any, count: int, message: str):
    with pytest.raises(InvalidValue, match=message):
        principal_components(vectors, count)


@given(st.integers(0, 2**32 - 1), st.integers(1, 12), st.integers(1, 12))
def test_the_order_of_vectors_does_not_move_their_points(seed: int, rows: int, dimension: int):
    random = np.random.default_rng(seed)
    vectors, order = random.normal(size=(rows, dimension)), random.permutation(rows)
    points, explained = principal_components(vectors)
    shuffled, shares = principal_components(vectors[order])

    assert np.allclose(shuffled, points[order], atol=1e-6)
    assert np.allclose(shares, explained)
    assert 0 <= explained.sum() <= 1 + 1e-9
