"""Embeddings: unit vectors that know their model and their text."""

import math

import numpy as np
import pytest

from chrysalis_memory import Embedding, codec
from chrysalis_memory.embedding import unit_vector
from chrysalis_memory.errors import InvalidValue


def test_an_embedding_knows_its_vector_model_and_text():
    embedding = Embedding([3.0, 4.0], "demo", text="a text")
    np.testing.assert_allclose([0.6, 0.8], embedding.vector, rtol=1e-6)
    assert ("demo", codec.text_hash("a text"), 2) == (
        embedding.model,
        embedding.text_hash,
        embedding.dimension,
    )


def test_a_vector_is_float32_of_length_one_and_read_only():
    vector = Embedding(np.arange(1, 100), "demo", text="x").vector
    assert (np.float32, (99,)) == (vector.dtype, vector.shape)
    assert math.isclose(1.0, float(np.linalg.norm(vector)), rel_tol=1e-6)
    with pytest.raises(ValueError, match="read-only"):
        vector[0] = 0.0


def test_the_given_array_is_neither_changed_nor_shared():
    given = np.array([3.0, 4.0], dtype=np.float32)
    embedding = Embedding(given, "demo", text="x")
    given[0] = 99.0
    np.testing.assert_allclose([0.6, 0.8], embedding.vector, rtol=1e-6)


def test_the_digest_can_be_given_in_place_of_the_text():
    digest = codec.text_hash("x")
    assert digest == Embedding([1.0], "demo", text_hash=digest).text_hash
    assert digest == Embedding([1.0], "demo", text="x").text_hash


@pytest.mark.parametrize("given", [{}, {"text": "x", "text_hash": b"0" * 16}])
def test_text_or_digest_is_needed_and_only_one_of_them(given):
    with pytest.raises(InvalidValue, match="text= or text_hash="):
        Embedding([1.0], "demo", **given)


@pytest.mark.parametrize(
    ("other", "cosine"),
    [([1.0, 0.0], 1.0), ([9.0, 0.0], 1.0), ([0.0, 5.0], 0.0), ([-2.0, 0.0], -1.0),
     ([1.0, 1.0], 0.7071068)],
)  # fmt: skip
def test_cosine_similarity_is_the_cosine_of_the_angle(other, cosine):
    embedding = Embedding([1.0, 0.0], "demo", text="x")
    assert cosine == embedding.cosine_similarity(other)
    assert cosine == embedding.cosine_similarity(np.array(other))
    assert cosine == Embedding(other, "demo", text="y").cosine_similarity(embedding)


def test_cosine_similarity_with_itself_is_exactly_one():
    generator = np.random.default_rng(7)
    for dimension in (1, 2, 3, 100, 384, 1024):
        embedding = Embedding(generator.normal(size=dimension), "demo", text="x")
        assert 1.0 == embedding.cosine_similarity(embedding)


def test_vectors_of_different_dimensions_are_not_compared():
    with pytest.raises(InvalidValue, match="dimension 2 and 3"):
        Embedding([1.0, 0.0], "demo", text="x").cosine_similarity([1.0, 0.0, 0.0])


NO_DIRECTION = [
    [], [[1.0, 2.0]], 1.0, [0.0, 0.0], [-0.0], [math.nan, 1.0], [math.inf, 1.0], [1.0, -math.inf],
    ["a"], [None], "ab", None, [[1.0], [2.0, 3.0]], [1j, 1.0],
]  # fmt: skip


@pytest.mark.parametrize("vector", NO_DIRECTION, ids=repr)
def test_what_has_no_direction_is_no_vector(vector):
    with pytest.raises(InvalidValue):
        Embedding(vector, "demo", text="x")
    with pytest.raises(InvalidValue):
        Embedding([1.0], "demo", text="x").cosine_similarity(vector)


@pytest.mark.parametrize("scale", [1e-300, 1e-30, 1e30, 1e200, 1e308])
def test_any_finite_vector_that_is_not_zero_is_scaled_to_length_one(scale):
    np.testing.assert_allclose([0.6, 0.8], unit_vector([0.6 * scale, 0.8 * scale]), rtol=1e-6)


@pytest.mark.parametrize("model", [None, 1, "nul\0", "\ud800"])
def test_a_model_name_must_be_text(model):
    with pytest.raises(InvalidValue):
        Embedding([1.0], model, text="x")


@pytest.mark.parametrize("text", [1, b"x", "\ud800"])
def test_the_text_must_be_text(text):
    with pytest.raises(InvalidValue):
        Embedding([1.0], "demo", text=text)


@pytest.mark.parametrize("digest", ["0" * 16, b"", b"short", b"0" * 17, 16])
def test_a_digest_is_16_bytes(digest):
    with pytest.raises(InvalidValue):
        Embedding([1.0], "demo", text_hash=digest)


def test_repr_shows_model_and_dimension_and_no_numbers():
    assert "Embedding(model='demo', dimension=2)" == repr(Embedding([1.0, 2.0], "demo", text="x"))
