"""Ranking by words, the same on every engine: which terms choose candidates, and BM25.

An engine finds the memories that hold a term and reads their tokens; what that is worth is decided
here.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from chrysalis_memory.backends.base import Term, WeightedTerm

# Saturation and length normalisation, as commonly taken for passages (Anserini's default, Yang et
# al. 2017); on the open conversations and meetings they gain over 1.2 and 0.75.
_K1 = 0.9
_B = 0.4

# How many memories terms may bring in to choose from: so many, and a share of all. Beyond it, terms
# that very many memories hold choose nothing; they count where the others' choice holds them too.
_ROWS = 500
_ROWS_SHARE = 0.004
# Of these, so many times the wanted number are scored: those whose terms are worth most.
_SCORED = 2
# The same terms add up alike but for this, in whatever order.
_ROUNDING = 1e-9


def worth_scoring(
    terms: Sequence[WeightedTerm],
    holding: Callable[[WeightedTerm], Iterable[int]],
    *,
    limit: int,
    memories: int,
    may_leave_out: Callable[[], bool],
) -> list[int]:
    """Return the memories among which the ``limit`` best by BM25 are looked for.

    Args:
        terms: Any of them.
        holding: Finds the matching memories that hold a term.
        limit: How many are wanted.
        memories: How many living memories there are.
        may_leave_out: Whether terms that very many memories hold need bring none in.
    """
    rows_max = _ROWS + _ROWS_SHARE * memories
    worth: dict[int, float] = {}
    rows = 0
    total = left = sum(term.idf for term in terms)
    for term in sorted(terms, key=lambda term: term.frequency):
        # As many hold what is worth all that is left: who holds only that is not among them.
        # (No memory is worth more than all terms so far.)
        if total - left + _ROUNDING >= left and _are_worth(worth, left, _SCORED * limit):
            break
        left -= term.idf
        rows += term.frequency
        if rows > rows_max and (len(worth) >= limit or may_leave_out()):
            break
        idf = term.idf
        if worth:
            for number in holding(term):
                worth[number] = worth.get(number, 0.0) + idf
        else:
            worth = dict.fromkeys(holding(term), idf)
    return _worthiest(worth, _SCORED * limit, limit)


def _are_worth(worth: Mapping[int, float], least: float, count: int) -> bool:
    """Tell whether at least ``count`` memories are worth ``least``."""
    return len(worth) >= count and sum(one >= least for one in worth.values()) >= count


def _worthiest(worth: Mapping[int, float], n: int, at_least: int) -> list[int]:
    """Return about ``n`` memories of most worth, ascending; those that tie come in or stay out.

    They stay out where the others are ``at_least`` so many: many may hold but one same term.

    Args:
        worth: The sum of the inverse document frequencies of the terms each memory holds.
        n: How many.
        at_least: How many are enough.
    """
    if len(worth) <= n:
        return sorted(worth)
    last = np.partition(np.fromiter(worth.values(), float, len(worth)), -n)[-n]
    better = sorted(number for number, one in worth.items() if one > last + _ROUNDING)
    if len(better) >= at_least:
        return better
    return sorted(number for number, one in worth.items() if one >= last - _ROUNDING)


def bm25(
    terms: Sequence[WeightedTerm],
    rows: Iterable[tuple[int, int, str]],
    mean_length: float,
) -> dict[int, float]:
    """Return the BM25 of each memory that holds any of the terms.

    Args:
        terms: What is looked for.
        rows: Memories as ``(number, length, joined tokens)``.
        mean_length: How many tokens a memory has on average.
    """
    wanted = [(pattern(one.term), one.idf * (_K1 + 1)) for one in terms if one.term.tokens]
    found: dict[int, float] = {}
    for number, length, tokens in rows:
        norm = _K1 * (1 - _B + _B * length / mean_length) if length else 0.0
        score = 0.0
        for tokens_in_row, worth in wanted:
            count = tokens.count(tokens_in_row)
            if count:
                score += worth * count / (count + norm)
        if score:
            found[number] = score
    return found


def best_of(
    scores: dict[int, float], limit: int, ids: Callable[[list[int]], dict[int, str]]
) -> list[tuple[int, float]]:
    """Return the ``limit`` best, ties settled by id as on every replica.

    Args:
        scores: BM25 by number.
        limit: How many.
        ids: Looks up the ids of memories; asked only where some tie.
    """
    ranked = sorted(scores.items(), key=lambda pair: -pair[1])
    last = ranked[:limit][-1][1] if ranked else 0.0
    ranked = [pair for pair in ranked if pair[1] >= last]
    holders = Counter(score for _, score in ranked)
    tied = [number for number, score in ranked if holders[score] > 1]
    if tied:
        names = ids(tied)
        ranked.sort(key=lambda pair: (-pair[1], names.get(pair[0], "")))
    return ranked[:limit]


def joined(tokens: Sequence[str]) -> str:
    """Join tokens so that counting one, or some in a row, in the text counts nothing else."""
    return "".join([f" {token} " for token in tokens])


def pattern(term: Term) -> str:
    """Return what to count in joined tokens."""
    return joined(term.tokens)[: -1 if term.prefix else None]
