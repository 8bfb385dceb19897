"""Checks shared by all embedders."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from embedders import ChrysalisError, DimensionMismatch, EmbedderError, InvalidText, InvalidVector
from embedders.base import check_texts, space_fingerprint, unit_rows


def test_rows_are_scaled_to_unit_length() -> None:
    actual = unit_rows([[3.0, 4.0], [0.0, -2.0]], count=2, dimension=2)

    np.testing.assert_allclose(np.array([[0.6, 0.8], [0.0, -1.0]]), actual, rtol=1e-6)
    assert actual.dtype == np.float32


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_very_small_and_very_large_rows_keep_their_direction(scale: float) -> None:
    actual = unit_rows([[3.0 * scale, 4.0 * scale]], count=1, dimension=2)

    np.testing.assert_allclose(np.array([[0.6, 0.8]]), actual, rtol=1e-6)


@pytest.mark.parametrize(
    ("vectors", "reason"),
    [
        ([[1.0, float("nan")], [1.0, 1.0]], r"texts\[0\].*NaN"),
        ([[1.0, 1.0], [1.0, float("inf")]], r"texts\[1\].*infinity"),
        ([[1.0, 1.0], [0.0, 0.0]], r"texts\[1\].*zero"),
        ([[1.0, 1.0]], "expected 2 vectors"),
        ([], "expected 2 vectors"),
        ([1.0, 2.0], "expected 2 vectors"),
        ([[1.0, 2.0], [1.0]], "table of numbers"),
        ([["a", "b"], ["c", "d"]], "table of numbers"),
        (None, "table of numbers|expected 2 vectors"),
        ([[], []], "length 0"),
    ],
)
def test_unusable_vectors_are_refused_with_their_reason(vectors: Any, reason: str) -> None:
    with pytest.raises(InvalidVector, match=reason):
        unit_rows(vectors, count=2, dimension=None)


def test_vectors_of_another_length_name_both_lengths() -> None:
    with pytest.raises(DimensionMismatch, match="dimension 3 from the model, got 2"):
        unit_rows([[1.0, 2.0]], count=1, dimension=3)


def test_a_bad_row_is_named_by_the_position_of_its_text() -> None:
    with pytest.raises(InvalidVector, match=r"texts\[17\]"):
        unit_rows([[1.0], [0.0]], count=2, dimension=1, positions=[4, 17])


def test_a_long_bad_text_is_quoted_short() -> None:
    with pytest.raises(InvalidText) as caught:
        check_texts(["x" * 100_000 + "\udc80", " " * 100_000], "document")

    assert len(str(caught.value)) < 300


def test_the_fingerprint_is_the_same_in_every_process() -> None:
    assert space_fingerprint("p", "m", 3, "a", "b") == "p/m/3/b9f1e0fd3ee1"


def test_the_fingerprint_keeps_details_apart() -> None:
    assert space_fingerprint("p", "m", 3, "ab", "c") != space_fingerprint("p", "m", 3, "a", "bc")


def test_every_error_extends_one_root() -> None:
    assert issubclass(EmbedderError, ChrysalisError)
    assert issubclass(DimensionMismatch, InvalidVector)


def test_importing_the_package_loads_no_library() -> None:
    heavy = "{'numpy', 'onnxruntime', 'tokenizers', 'ollama', 'model2vec'}"
    code = f"import sys, embedders; sys.exit(str({heavy} & set(sys.modules)))"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert done.stderr.strip() == "set()"
