"""A choice among ranked memories that differ from each other."""

from collections.abc import Mapping, Sequence

from chrysalis_memory.embedding import Vector
from chrysalis_memory.recall import Explanation
from chrysalis_memory.search import Candidate

_DIGITS = 6
"""Cosines are rounded to this, as those of a ranking are."""


def diversify(
    ranked: Sequence[tuple[Candidate, Explanation]],
    vectors: Mapping[int, Vector],
    *,
    diversity: float,
    k: int,
) -> list[tuple[Candidate, Explanation]]:
    """Choose ``k`` that are relevant and unlike each other: maximal marginal relevance.

    Scores count as shares of the best; see :func:`unlike`.

    Args:
        ranked: Candidates, best first.
        vectors: Unit vectors by number; one without is like no other.
        diversity: d, from 0, which keeps the ranking, to 1, which after the first looks at
            difference alone.
        k: How many.
    """
    best = max((explanation.score for _, explanation in ranked), default=0.0) or 1.0
    scores = [explanation.score / best for _, explanation in ranked]
    of_ranked = [vectors.get(candidate.number) for candidate, _ in ranked]
    return [ranked[place] for place in unlike(scores, of_ranked, diversity=diversity, k=k)]


def unlike(
    scores: Sequence[float], vectors: Sequence[Vector | None], *, diversity: float, k: int
) -> list[int]:
    """Choose ``k`` places with high scores and vectors unlike each other.

    Each next one has the greatest ``(1 - d) · score - d · greatest cosine with those chosen``
    (Carbonell and Goldstein 1998); ties keep their order.

    Args:
        scores: One for each place.
        vectors: Unit vectors, one for each place; ``None`` is like no other.
        diversity: d, from 0 to 1.
        k: How many.
    """
    left = list(range(len(scores)))
    chosen: list[int] = []
    likeness = [0.0] * len(scores)
    while left and len(chosen) < k:
        gains = [(1 - diversity) * scores[one] - diversity * likeness[one] for one in left]
        taken = left.pop(gains.index(max(gains)))
        chosen.append(taken)
        vector = vectors[taken]
        for one in left:
            other = vectors[one]
            if vector is not None and other is not None:
                likeness[one] = max(likeness[one], round(float(vector @ other), _DIGITS))
    return chosen
