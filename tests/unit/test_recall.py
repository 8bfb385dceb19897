"""Ranking: relevance first, bounded priors second, and an explanation that adds up exactly."""

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from strategies import LAWS

from chrysalis_memory import Weights
from chrysalis_memory.diversity import diversify
from chrysalis_memory.errors import InvalidValue
from chrysalis_memory.recall import Explanation, full_match, rank
from chrysalis_memory.search import Candidate

DAY_US = 86_400_000_000
NOW_US = 1_800_000_000_000_000
PLAIN = Candidate(
    number=1,
    id="m",
    similarity=0.5,
    bm25=0.0,
    importance=0.5,
    confidence=0.5,
    access_count=0,
    updated_at=NOW_US,
)


def candidate(memory_id: str = "m", **fields: Any) -> Candidate:
    return PLAIN._replace(id=memory_id, **fields)


def ranked(candidates: list[Candidate], *, k: int = 10, **options: Any) -> list[str]:
    weights = options.pop("weights", Weights())
    found = rank(candidates, weights=weights, now_us=NOW_US, k=k, **options)
    return [one.id for one, _ in found]


def explain(one: Candidate, best_bm25: float, weights: Weights, now_us: int) -> Explanation:
    """Return the explanation of one candidate beside others, the best of which has that BM25."""
    ((_, found),) = rank([one], weights=weights, now_us=now_us, k=1, full_bm25=best_bm25)
    return found


def score(one: Candidate, *, best_bm25: float = 0.0, weights: Weights | None = None) -> float:
    return explain(one, best_bm25, weights or Weights(), NOW_US).score


scores = st.floats(0, 1)
candidates = st.builds(
    Candidate,
    number=st.integers(1, 99),
    id=st.sampled_from("abcdef"),
    similarity=st.one_of(st.none(), st.floats(-1, 1)),
    bm25=st.floats(0, 30),
    importance=scores,
    confidence=scores,
    access_count=st.integers(0, 10**9),
    updated_at=st.integers(1, NOW_US + DAY_US),
    around=st.one_of(st.none(), st.floats(0, 1)),
    bm25_before=st.floats(0, 30),
    late=st.one_of(st.none(), st.floats(-1, 1)),
    bm25_earlier=st.floats(0, 30),
    asks=st.booleans(),
    answers=st.booleans(),
    source=st.just("web:a"),
    trust=scores,
)
ALONE = {"around": None, "bm25_before": 0.0, "bm25_earlier": 0.0, "late": None}
weightings = st.builds(
    Weights,
    keyword=st.floats(0, 10),
    importance=st.floats(0, 0.2),
    confidence=st.floats(0, 0.2),
    access=st.floats(0, 0.2),
    recency=st.floats(0, 0.2),
    half_life_days=st.floats(0.1, 36_500),
    neighbours=st.floats(0, 1),
    late=st.floats(0, 10),
)


@LAWS
@given(one=candidates, best=st.floats(0.001, 30), weights=weightings)
def test_the_score_is_what_the_formula_says(one: Candidate, best: float, weights: Weights) -> None:
    share = weights.neighbours
    own = (1 - share / 2 if one.asks else 1) * one.bm25
    before = min(1, 1.5 * share if one.answers else share) * one.bm25_before
    words = math.hypot(own, before, share**2 * one.bm25_earlier)
    best = max(best, words)
    meaning = max(0.0, one.similarity or 0.0)
    if one.around is not None:
        meaning = (1 - share) * meaning + share * one.around
    relevance = meaning + weights.keyword * words / best + weights.late * max(0.0, one.late or 0.0)
    age_days = max(0.0, (NOW_US - one.updated_at) / DAY_US)
    factor = (
        1
        + weights.importance * (2 * one.importance - 1)
        + weights.confidence * (2 * one.confidence - 1)
        + weights.access * one.access_count / (one.access_count + 10)
        + weights.recency * 0.5 ** (age_days / weights.half_life_days)
    )
    actual = score(one, best_bm25=best, weights=weights)
    assert actual == pytest.approx(
        relevance * factor * one.trust, abs=2e-5 * (1 + weights.keyword + weights.late)
    )


@LAWS
@given(one=candidates, best=st.floats(0, 30), weights=weightings)
def test_an_explanation_recomputes_its_score_exactly(
    one: Candidate, best: float, weights: Weights
) -> None:
    explanation = explain(one, full_match([one], weights, best), weights, NOW_US)
    assert explanation.recompute() == explanation.score
    assert explanation.relevance * explanation.factor * one.trust == explanation.score
    parts = explanation.to_dict()
    effects = ("importance_effect", "confidence_effect", "access_effect", "recency_effect")
    assert parts["relevance"] * parts["factor"] * parts["trust"] == parts["score"]
    assert 1 + sum(parts[effect] for effect in effects) == pytest.approx(parts["factor"])
    json.dumps(parts, allow_nan=False)
    assert f"{explanation.score:.3f}" in str(explanation)


@LAWS
@given(one=candidates, weights=weightings)
def test_no_prior_lifts_what_is_irrelevant(one: Candidate, weights: Weights) -> None:
    irrelevant = one._replace(similarity=min(one.similarity or 0.0, 0.0), bm25=0.0, **ALONE)
    assert score(irrelevant, best_bm25=5.0, weights=weights) == 0


@LAWS
@given(weak=candidates, strong=candidates)
def test_priors_reorder_only_what_is_about_equally_relevant(
    weak: Candidate, strong: Candidate
) -> None:
    weak = weak._replace(similarity=0.5, bm25=0.0, trust=1.0, **ALONE)
    strong = strong._replace(similarity=0.5 * 1.35 + 0.01, bm25=0.0, trust=1.0, **ALONE)
    assert score(strong) > score(weak)


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        ({"importance": 0.9}, {"importance": 0.5}),
        ({"confidence": 0.5}, {"confidence": 0.1}),
        ({"access_count": 5}, {"access_count": 0}),
        ({"updated_at": NOW_US}, {"updated_at": NOW_US - 30 * DAY_US}),
        ({"bm25": 2.0}, {"bm25": 1.0}),
        ({"similarity": 0.6}, {"similarity": 0.5}),
        ({"trust": 0.6}, {"trust": 0.5}),
        ({"similarity": 0.1}, {"similarity": None}),
        ({"around": 0.6}, {"around": 0.5}),
        ({"bm25": 1.0, "bm25_before": 1.0}, {"bm25": 1.0}),
        ({"bm25": 1.0, "bm25_earlier": 1.0}, {"bm25": 1.0}),
        ({"bm25_before": 1.0}, {"bm25_earlier": 1.0}),
        ({"bm25_before": 1.0, "answers": True}, {"bm25_before": 1.0}),
        ({"bm25": 1.0}, {"bm25": 1.0, "asks": True}),
        ({"late": 0.6}, {"late": 0.5}),
    ],
)
def test_each_part_lifts_what_is_otherwise_equal(
    better: dict[str, Any], worse: dict[str, Any]
) -> None:
    assert ranked([candidate("a", **worse), candidate("b", **better)]) == ["b", "a"]


def test_use_counts_saturate() -> None:
    effects = [
        explain(candidate(access_count=n), 0.0, Weights(), NOW_US).access_effect
        for n in (0, 10, 20, 10**6, 10**12)
    ]
    assert effects == sorted(effects)
    assert effects[:2] == [0.0, 0.05]
    assert effects[-1] <= 0.1
    assert effects[1] - effects[0] > effects[2] - effects[1] > effects[4] - effects[3]


def test_recency_halves_after_the_half_life() -> None:
    weights = Weights(half_life_days=10)
    effects = [
        explain(candidate(updated_at=NOW_US - days * DAY_US), 0.0, weights, NOW_US).recency_effect
        for days in (-1, 0, 10, 20)
    ]
    assert effects == [0.05, 0.05, 0.025, 0.0125]


def test_defaults_of_importance_and_confidence_are_neutral() -> None:
    explanation = explain(candidate(), 0.0, Weights(recency=0), NOW_US)
    assert (explanation.factor, explanation.score) == (1.0, 0.5)


def test_ties_are_settled_by_the_id_whatever_order_candidates_come_in() -> None:
    equals = [candidate(name, number=i) for i, name in enumerate("cabd")]
    assert ranked(equals) == ranked(equals[::-1]) == ["a", "b", "c", "d"]
    assert ranked(equals, k=2) == ["a", "b"]


def test_noise_below_a_millionth_is_a_tie() -> None:
    assert ranked([candidate("b", similarity=0.5 + 1e-8), candidate("a")]) == ["a", "b"]


@LAWS
@given(drawn=st.lists(candidates, max_size=6, unique_by=lambda one: one.id), data=st.data())
def test_the_ranking_does_not_depend_on_the_order_of_candidates(
    drawn: list[Candidate], data: st.DataObject
) -> None:
    shuffled = data.draw(st.permutations(drawn))
    assert ranked(shuffled) == ranked(drawn)
    found = rank(drawn, weights=Weights(), now_us=NOW_US, k=9)
    assert found == sorted(found, key=lambda pair: (-pair[1].score, pair[0].id))


def test_min_score_leaves_out_what_scores_lower_and_keeps_what_equals_it() -> None:
    found = [candidate("a", similarity=0.9), candidate("b", similarity=0.2)]
    limit = score(found[0])
    assert ranked(found, min_score=limit) == ["a"]
    assert ranked(found, min_score=math.nextafter(limit, 2)) == []
    assert ranked(found, min_score=0.0) == ["a", "b"]


def test_the_best_words_of_all_candidates_count_as_one() -> None:
    found = rank(
        [candidate("a", bm25=8.0), candidate("b", bm25=2.0), candidate("c")],
        weights=Weights(),
        now_us=NOW_US,
        k=3,
    )
    assert [explanation.keyword for _, explanation in found] == [1.0, 0.25, 0.0]


def test_nothing_found_ranks_nothing() -> None:
    assert ranked([]) == []


@pytest.mark.parametrize(
    "fields",
    [
        {"importance": 0.21},
        {"access": -0.1},
        {"keyword": math.nan},
        {"recency": math.inf},
        {"half_life_days": 0},
        {"colour": 1},
    ],
)
def test_weights_beyond_their_bounds_are_refused(fields: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        Weights(**fields)


def test_an_explanation_without_a_vector_says_so() -> None:
    explanation: Explanation = explain(candidate(similarity=None, bm25=1.0), 1.0, Weights(), NOW_US)
    assert explanation.similarity is None
    assert explanation.relevance == 0.4
    assert "no vector" in str(explanation)


def test_a_lone_weak_match_does_not_count_as_a_full_one() -> None:
    weak = [candidate("weak", similarity=0.4, bm25=1.0), candidate("near", similarity=0.6)]
    found = rank(weak, weights=Weights(), now_us=NOW_US, k=2, full_bm25=10.0)
    assert [one.id for one, _ in found] == ["near", "weak"]
    assert found[1][1].keyword == 0.1
    strong = [weak[0]._replace(bm25=20.0), weak[1]]
    found = rank(strong, weights=Weights(), now_us=NOW_US, k=2, full_bm25=10.0)
    assert [(one.id, parts.keyword) for one, parts in found] == [("weak", 1.0), ("near", 0.0)]


def test_without_a_weight_neighbours_change_nothing() -> None:
    alone = candidate("a", bm25=1.0)
    beside = alone._replace(around=0.9, bm25_before=9.0, bm25_earlier=9.0, asks=True, answers=True)
    weights = Weights(neighbours=0)
    assert score(alone, best_bm25=2.0, weights=weights) == score(
        beside, best_bm25=2.0, weights=weights
    )


@LAWS
@given(one=candidates, weights=weightings)
def test_what_neighbours_add_to_words_is_bounded(one: Candidate, weights: Weights) -> None:
    words = full_match([one], weights, 0.0)
    said = (one.bm25, one.bm25_before, one.bm25_earlier)
    assert words <= sum(said) * (1 + 1e-12)
    assert words >= one.bm25 / 2 - 1e-9
    alone = one._replace(bm25_before=0.0, bm25_earlier=0.0, asks=False)
    assert full_match([alone], weights, 0.0) == pytest.approx(one.bm25)


def test_an_explanation_names_what_neighbours_and_tokens_add() -> None:
    found = explain(candidate(around=0.8, bm25_before=2.0, late=0.7), 2.0, Weights(), NOW_US)
    assert found.meaning == pytest.approx(0.4 * 0.5 + 0.6 * 0.8)
    assert found.keyword == 0.6
    assert "around 0.800" in str(found)
    assert "late 0.700" in str(found)


def test_presets_put_one_prior_above_another() -> None:
    assert Weights.preset("balanced") == Weights()
    assert explain(candidate(access_count=99), 0.0, Weights.preset("similar"), NOW_US).factor == 1
    old = candidate("old", importance=1.0, updated_at=NOW_US - 60 * DAY_US)
    pair = [old, candidate("new", importance=0.4)]
    assert ranked(pair, weights=Weights.preset("recent")) == ["new", "old"]
    assert ranked(pair, weights=Weights.preset("important")) == ["old", "new"]
    with pytest.raises(InvalidValue, match="'balanced', 'similar', 'recent', 'important'"):
        Weights.preset("loud")  # type: ignore[arg-type]


def test_diversity_passes_over_what_is_like_a_better_one() -> None:
    near = [
        candidate("a", number=1, similarity=0.9),
        candidate("twin", number=2, similarity=0.89),
        candidate("other", number=3, similarity=0.7),
        candidate("waits", number=4, similarity=0.6),
    ]
    vectors = {
        1: np.array([1.0, 0.0], np.float32),
        2: np.array([1.0, 0.0], np.float32),
        3: np.array([0.0, 1.0], np.float32),
    }
    found = rank(near, weights=Weights(), now_us=NOW_US, k=9)

    def chosen(diversity: float, k: int = 4) -> list[str]:
        return [one.id for one, _ in diversify(found, vectors, diversity=diversity, k=k)]

    assert chosen(0.0) == ["a", "twin", "other", "waits"]
    assert chosen(0.5) == ["a", "other", "waits", "twin"]
    assert chosen(0.5, k=2) == ["a", "other"]
    assert diversify([], vectors, diversity=0.5, k=3) == []
