"""The rule for long texts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedders import TextTooLong
from embedders.windows import even_spans, join_windows, split_text, split_to_fit


@given(st.integers(0, 5000), st.integers(1, 300))
def test_spans_cover_everything_in_order_and_are_nearly_equal(length: int, limit: int) -> None:
    spans = even_spans(length, limit)

    assert [at for start, stop in spans for at in range(start, stop)] == list(range(length))
    sizes = [stop - start for start, stop in spans]
    assert max(sizes) <= limit
    assert max(sizes) - min(sizes) <= 1


@given(st.text(min_size=1).filter(lambda text: not text.isspace()), st.integers(1, 20))
def test_splitting_a_text_loses_nothing_but_white_space(text: str, parts: int) -> None:
    pieces = split_text(text, parts=parts)

    assert "".join("".join(pieces).split()) == "".join(text.split())
    assert all(pieces)


@given(st.text(alphabet="ab \n", min_size=1).filter(lambda text: not text.isspace()))
def test_every_part_fits_and_nothing_but_white_space_is_lost(text: str) -> None:
    pieces = split_to_fit(text, limit=3, count_tokens=len)

    assert max(len(piece) for piece in pieces) <= 3
    assert "".join("".join(pieces).split()) == "".join(text.split())


def test_a_text_is_split_between_words() -> None:
    assert split_text("one two three four", parts=2) == ["one two ", "three four"]


def test_a_character_with_more_tokens_than_the_limit_is_an_error() -> None:
    with pytest.raises(TextTooLong, match="alone has 4 tokens"):
        split_to_fit("ab", limit=2, count_tokens=lambda text: 4 * len(text))


def test_windows_are_averaged_by_their_weights() -> None:
    vectors = np.array([[1, 0], [0, 1], [0, 1]], dtype=np.float32)

    actual = join_windows(vectors, owners=[0, 0, 1], weights=[3, 4, 9], count=2, source="test")

    np.testing.assert_allclose(np.array([[0.6, 0.8], [0.0, 1.0]]), actual, rtol=1e-6)
