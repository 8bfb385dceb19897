"""Late interaction: a query's tokens against the best tokens of each memory."""

import numpy as np
import pytest

from chrysalis_memory import rerank
from chrysalis_memory.errors import InvalidValue
from embedders.hashing import HashingEmbedder
from embedders.minilm import MiniLMEmbedder


def unit(rows: int, dimension: int = 16, seed: int = 1) -> np.ndarray:
    vectors = np.random.default_rng(seed).normal(size=(rows, dimension)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_every_token_of_the_query_counts_with_its_best_match_by_weight() -> None:
    query, first, second = unit(3), unit(5, seed=2), unit(2, seed=3)
    weights = np.array([1.0, 2.0, 0.5], np.float32)
    packed = {7: rerank.pack(first), 9: rerank.pack(second)}
    found = rerank.late_scores(query, weights, packed)
    for number, vectors in ((7, first), (9, second)):
        signs = np.where(vectors > 0, 1, -1) / np.sqrt(16)
        best = (signs @ query.T).max(axis=0)
        assert found[number] == pytest.approx((best * weights).sum() / weights.sum(), abs=1e-5)


def test_a_token_may_find_a_share_of_its_best_match_in_the_memory_before() -> None:
    query, ones = unit(2), np.ones(2, np.float32)
    texts = {1: query[:1], 2: query[1:], 3: -query}
    packed = {number: rerank.pack(vectors) for number, vectors in texts.items()}
    best = {
        number: (np.where(vectors > 0, 1, -1) / np.sqrt(16) @ query.T).max(axis=0)
        for number, vectors in texts.items()
    }
    before = {2: rerank.Before(1, 0.6), 3: rerank.Before(2, 0.9), 1: rerank.Before(99, 1.0)}
    found = rerank.late_scores(query, ones, packed, before)
    assert found[1] == pytest.approx(best[1].mean(), abs=1e-5)
    assert found[2] == pytest.approx(np.maximum(best[2], 0.6 * best[1]).mean(), abs=1e-5)
    # Not what the memory before it was itself passed on.
    assert found[3] == pytest.approx(np.maximum(best[3], 0.9 * best[2]).mean(), abs=1e-5)
    assert rerank.fill(found, [1, 4])[4] == found[1]


def test_a_dimension_that_fills_no_byte_is_kept_whole() -> None:
    vectors = unit(3, dimension=13)
    packed = rerank.pack(vectors)
    assert len(packed) == 3 * 2
    same = rerank.late_scores(vectors, np.ones(3, np.float32), {1: packed})
    other = rerank.late_scores(-vectors, np.ones(3, np.float32), {1: packed})
    assert same[1] > 0.5 > other[1]


def test_memories_that_are_too_long_or_wait_are_neither_lifted_nor_lowered() -> None:
    assert rerank.pack(unit(rerank.TOKENS_MAX)) != b""
    assert rerank.pack(unit(rerank.TOKENS_MAX + 1)) == b""
    packed = {1: rerank.pack(unit(4)), 2: rerank.pack(unit(4, seed=5)), 3: b""}
    scores = rerank.late_scores(unit(2, seed=9), np.ones(2, np.float32), packed)
    assert set(scores) == {1, 2}
    filled = rerank.fill(scores, [1, 2, 3, 4])
    assert filled[3] == filled[4] == pytest.approx((scores[1] + scores[2]) / 2)
    assert rerank.late_scores(unit(2), np.ones(2, np.float32), {3: b""}) == {}
    assert rerank.fill({}, [1]) == {}


def test_the_pieces_of_a_word_share_its_weight_and_marks_have_none() -> None:
    worth = {"sunrise": 4.0, "the": 0.5}
    tokens = ["the", "sun", "##rise", "?"]
    found = rerank.token_weights(tokens, lambda word: worth[word])
    assert found.tolist() == [0.5, 2.0, 2.0, 0.0]
    assert rerank.token_weights(["?", "!"], lambda _: 1.0).tolist() == [1.0, 1.0]


def test_an_embedder_without_token_vectors_is_refused() -> None:
    embedder = MiniLMEmbedder()
    assert rerank.token_embedder(embedder) is embedder
    with pytest.raises(InvalidValue, match="embed_tokens"):
        rerank.token_embedder(HashingEmbedder(8))
