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

    Each next one has the greatest ``(1 - d) · score / best score - d · greatest cosine with those
    chosen`` (Carbonell and Goldstein 1998); ties keep the order of scores.

    Args:
        ranked: Candidates, best first.
        vectors: Unit vectors by number; one without is like no other.
        diversity: d, from 0, which keeps the ranking, to 1, which after the first looks at
            difference alone.
        k: How many.
    """
    left = list(ranked)
    chosen: list[tuple[Candidate, Explanation]] = []
    best = max((explanation.score for _, explanation in ranked), default=0.0) or 1.0
    likeness = dict.fromkeys((candidate.number for candidate, _ in ranked), 0.0)
    while left and len(chosen) < k:
        gains = [
            (1 - diversity) * explanation.score / best - diversity * likeness[candidate.number]
            for candidate, explanation in left
        ]
        taken = left.pop(gains.index(max(gains)))
        chosen.append(taken)
        vector = vectors.get(taken[0].number)
        for candidate, _ in left:
            other = vectors.get(candidate.number)
            if vector is not None and other is not None:
                cosine = round(float(vector @ other), _DIGITS)
                likeness[candidate.number] = max(likeness[candidate.number], cosine)
    return chosen
