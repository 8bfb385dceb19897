"""Late interaction: a query's tokens, each against its best token of a memory.

``late = sum(idf · max over the memory's tokens of cosine) / sum(idf)`` over the query's tokens
(ColBERT, Khattab and Zaharia 2020; the weights by inverse document frequency are added). A token
of the query may find its best in the memory before, in the same episode, for a share of the cosine.
Of a memory's tokens only the signs are kept, an eighth of a byte per dimension: 48 bytes a token
with 384 dimensions. On conversations that loses half a point of nDCG against whole floats.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from chrysalis_memory.errors import InvalidValue

TOKENS_MAX = 128
"""Longer memories take no part: the more tokens, the better the best match of any query's."""

_PIECE = "##"
_WORD = re.compile(r"\w")


class Before(NamedTuple):
    """The memory before another in its episode."""

    number: int
    share: float
    """What a cosine with one of its tokens counts for the other."""


class TokenVectors(Protocol):
    """The vectors of one text's tokens."""

    @property
    def tokens(self) -> Sequence[str]:
        """The tokens; "##" begins one that continues a word."""
        ...

    @property
    def vectors(self) -> NDArray[np.float32]:
        """One unit vector per token, shape ``(tokens, dimension)``."""
        ...


class TokenEmbedder(Protocol):
    """An embedder that also gives a vector per token."""

    async def embed_tokens(self, texts: Sequence[str]) -> Sequence[TokenVectors]:
        """Return one entry per text, in order."""
        ...


def token_embedder(embedder: Any) -> TokenEmbedder:
    """Return the embedder, if it gives token vectors.

    Raises:
        InvalidValue: it does not.
    """
    if not callable(getattr(embedder, "embed_tokens", None)):
        raise InvalidValue(
            f"late interaction needs an embedder with embed_tokens(), such as 'minilm'; "
            f"{embedder.model!r} has none"
        )
    return cast("TokenEmbedder", embedder)


def pack(vectors: NDArray[np.float32]) -> bytes:
    """Return the signs of token vectors as bits, or nothing for a memory that is too long.

    Args:
        vectors: Shape ``(tokens, dimension)``.
    """
    if len(vectors) > TOKENS_MAX:
        return b""
    return np.packbits(vectors > 0, axis=1).tobytes()


def token_weights(tokens: Sequence[str], idf: Callable[[str], float]) -> NDArray[np.float32]:
    """Return what each token of a query counts, shape ``(tokens,)``.

    Args:
        tokens: As :class:`TokenVectors` gives them.
        idf: The inverse document frequency of a word, which its pieces share.
    """
    words: list[str] = []
    of_token: list[int] = []
    for token in tokens:
        if token.startswith(_PIECE) and words:
            words[-1] += token.removeprefix(_PIECE)
        else:
            words.append(token)
        of_token.append(len(words) - 1)
    pieces = np.bincount(of_token, minlength=len(words))
    weights = np.array([idf(word) if _WORD.search(word) else 0.0 for word in words])
    found = (weights / np.maximum(pieces, 1))[of_token].astype(np.float32)
    return found if found.sum() > 0 else np.ones(len(tokens), dtype=np.float32)


def late_scores(
    query: NDArray[np.float32],
    weights: NDArray[np.float32],
    packed: Mapping[int, bytes],
    before: Mapping[int, Before] | None = None,
) -> dict[int, float]:
    """Return the late interaction with each memory that has token vectors, about -1 to 1.

    Args:
        query: The query's token vectors, shape ``(query tokens, dimension)``.
        weights: What each counts, shape ``(query tokens,)``.
        packed: What :func:`pack` gave for each memory, by number.
        before: Who stands before a memory, by number, and what its tokens count there.
    """
    dimension = query.shape[1]
    width = (dimension + 7) // 8
    kept = {number: bits for number, bits in packed.items() if bits}
    if not kept:
        return {}
    rows = np.frombuffer(b"".join(kept.values()), dtype=np.uint8).reshape(-1, width)
    signs = np.unpackbits(rows, axis=1, count=dimension).astype(np.float32)
    lengths = [len(bits) // width for bits in kept.values()]
    starts = np.concatenate([[0], np.cumsum(lengths)[:-1]])
    # The product with (2 · signs - 1) / √dimension; but arithmetic on all signs costs more than it.
    best = np.maximum.reduceat(signs @ query.T, starts, axis=0)
    best = (2 * best - query.sum(axis=1)) / np.float32(np.sqrt(dimension))
    scores = _with_before(best, list(kept), before or {}) @ weights / weights.sum()
    return {number: float(score) for number, score in zip(kept, scores, strict=True)}


def _with_before(
    best: NDArray[np.float32], numbers: Sequence[int], before: Mapping[int, Before]
) -> NDArray[np.float32]:
    """Return each memory's best cosines with the query's tokens, or the share of those before."""
    row = {number: at for at, number in enumerate(numbers)}
    pairs = [
        (at, row[found.number], found.share)
        for number, at in row.items()
        if (found := before.get(number)) is not None and found.number in row
    ]
    if not pairs:
        return best
    own, other, shares = zip(*pairs, strict=True)
    mixed = best.copy()
    passed = np.array(shares, dtype=np.float32)[:, None] * best[list(other)]
    mixed[list(own)] = np.maximum(best[list(own)], passed)
    return mixed


def fill(scores: Mapping[int, float], numbers: Sequence[int]) -> dict[int, float]:
    """Return a score for every number; one without gets the mean, which says nothing.

    Memories that are too long, or still wait for their token vectors, are so neither lifted nor
    lowered against the others.
    """
    known = [scores[number] for number in numbers if number in scores]
    if not known:
        return {}
    mean = sum(known) / len(known)
    return {number: scores.get(number, mean) for number in numbers}
