"""The rule for texts longer than a model reads: split, embed every part, average.

No text is ever cut. A text of more than `max_tokens` tokens becomes windows of nearly equal
size that do not overlap; every window is embedded; the text's vector is the mean of the
windows' unit vectors, weighted by their tokens, scaled to length 1 again. A change anywhere in
the text therefore moves its vector, and a text that fits is embedded exactly as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from embedders.base import unit_rows
from embedders.errors import TextTooLong


def even_spans(length: int, limit: int) -> list[tuple[int, int]]:
    """Split a length into the fewest spans of at most `limit`, as equal as possible.

    Equal spans, because a short last window would be embedded out of all context.

    Args:
        length: How many items (tokens or characters) there are.
        limit: How many fit into one window; at least 1.

    Returns:
        Half-open (start, stop) pairs that cover 0..length; one empty span for length 0.
    """
    count = max(1, -(-length // limit))
    edges = [length * part // count for part in range(count + 1)]
    return list(pairwise(edges))


def split_text(text: str, *, parts: int) -> list[str]:
    """Split a text into parts of nearly equal length, between words where there are any.

    For models that do not let their tokens be fed to them. Every character is in exactly one
    part, except that parts of nothing but white space are left out.

    Args:
        text: The text to split; not empty.
        parts: How many parts are wanted; there may be fewer.

    Returns:
        The parts in order; at least one.
    """
    limit = max(1, -(-len(text) // parts))
    edges = [0]
    for _, stop in even_spans(len(text), limit)[:-1]:
        # A word is cut only where no white space lies in the second half of the part.
        space = max(text.rfind(mark, edges[-1] + limit // 2, stop) for mark in " \n\t")
        edges.append(space + 1 if space > edges[-1] else stop)
    pieces = [text[start:stop] for start, stop in pairwise([*edges, len(text)])]
    return [piece for piece in pieces if piece and not piece.isspace()]


def split_to_fit(text: str, *, limit: int, count_tokens: Callable[[str], int]) -> list[str]:
    """Split a text until every part has at most `limit` tokens.

    Args:
        text: The text to split.
        limit: The most tokens of a part; at least 1.
        count_tokens: Counts the tokens of a text, uncut and without special tokens.

    Returns:
        The parts in order; the text itself when it fits.

    Raises:
        TextTooLong: A single character has more tokens than `limit`.
    """
    tokens = count_tokens(text)
    if tokens <= limit:
        return [text]
    if len(text) == 1:
        raise TextTooLong(f"the character {text!r} alone has {tokens} tokens, the limit is {limit}")
    parts = split_text(text, parts=min(len(text), -(-tokens // limit)))
    if len(parts) == 1:
        # White space was all that could be split off.
        parts = split_text(text.strip(), parts=2) if text != text.strip() else list(text)
    return [
        piece
        for part in parts
        for piece in split_to_fit(part, limit=limit, count_tokens=count_tokens)
    ]


def join_windows(
    vectors: NDArray[np.float32],
    *,
    owners: Sequence[int],
    weights: Sequence[int],
    count: int,
    source: str,
) -> NDArray[np.float32]:
    """Average the windows of each text into one unit vector per text.

    Args:
        vectors: Unit vectors of the windows, shape (windows, dimension).
        owners: For every window the position of its text; every text owns at least one.
        weights: For every window its size in tokens (or characters where the model does not
            tell its tokens).
        count: How many texts there are.
        source: Who produced the vectors, for the error message.

    Returns:
        Array of shape (count, dimension), rows of unit length.

    Raises:
        InvalidVector: The windows of a text cancel each other out.
    """
    if len(vectors) == count:
        # Every text is one window: averaging would only add rounding.
        return vectors[np.argsort(np.asarray(owners, dtype=np.intp), kind="stable")]
    sums = np.zeros((count, vectors.shape[1]), dtype=np.float64)
    scaled = vectors * np.asarray(weights, dtype=np.float64)[:, None]
    np.add.at(sums, np.asarray(owners, dtype=np.intp), scaled)
    return unit_rows(sums, count=count, dimension=vectors.shape[1], source=source)
