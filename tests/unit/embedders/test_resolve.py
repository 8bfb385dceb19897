"""From names and other values to embedders."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

import embedders
from embedders import MissingExtra, UnknownEmbedder, as_embedder, resolve
from embedders.function import FunctionEmbedder
from embedders.hashing import HashingEmbedder
from embedders.minilm import MiniLMEmbedder
from embedders.truncated import TruncatedEmbedder

PLUGIN = """
from embedders.hashing import HashingEmbedder
def make(model):
    return HashingEmbedder(int(model or 16))
def broken(model):
    return "no embedder"
"""


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installed distribution that adds two embedders."""
    (tmp_path / "embedder_plugin.py").write_text(PLUGIN)
    info = tmp_path / "embedder_plugin-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: embedder-plugin\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[chrysalis_memory.embedders]\n"
        "mine = embedder_plugin:make\n"
        "broken = embedder_plugin:broken\n"
    )
    monkeypatch.syspath_prepend(tmp_path)


def test_minilm_is_the_bundled_model() -> None:
    assert isinstance(resolve("minilm"), MiniLMEmbedder)


def test_hashing_takes_a_dimension() -> None:
    assert [256, 512] == [resolve(name).dimension for name in ("hashing", "hashing:512")]


def test_a_model_name_may_hold_colons() -> None:
    pytest.importorskip("ollama", reason="needs the extra ollama")

    assert resolve("ollama:nomic-embed-text:v1.5").model == "nomic-embed-text:v1.5"


def test_a_truncated_embedder_is_named_by_its_dimension_and_any_other_name() -> None:
    short = resolve("truncate:24:hashing:64")
    shorter = resolve("truncate:8:truncate:24:hashing:64")

    assert isinstance(short, TruncatedEmbedder)
    assert [24, 8] == [short.dimension, shorter.dimension]
    assert shorter.model.endswith("[:24][:8]")


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(UnknownEmbedder, match="'wordnet'; known: hashing, minilm, model2vec, oll"):
        resolve("wordnet:3")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("", "no embedder is called ''"),
        ("ollama", "needs a model, as in 'ollama:"),
        ("transformers:", "needs a model"),
        ("hashing:many", "takes a dimension of at least 8"),
        ("hashing:7", "takes a dimension of at least 8"),
        ("minilm:large", "takes no other model"),
        ("truncate", "takes a dimension of at least 1 and an embedder's name"),
        ("truncate:256", "takes a dimension of at least 1 and an embedder's name"),
        ("truncate:0:minilm", "takes a dimension of at least 1 and an embedder's name"),
        ("truncate:-1:minilm", "takes a dimension of at least 1 and an embedder's name"),
        ("truncate:x:minilm", "takes a dimension of at least 1 and an embedder's name"),
        ("truncate:9:wordnet", "no embedder is called 'wordnet'"),
    ],
)
def test_a_name_that_cannot_work_says_why(name: str, reason: str) -> None:
    if name.startswith("ollama"):
        pytest.importorskip("ollama", reason="needs the extra ollama")
    if name.startswith("transformers"):
        pytest.importorskip("sentence_transformers", reason="needs the extra transformers")

    with pytest.raises(UnknownEmbedder, match=reason):
        resolve(name)


@pytest.mark.usefixtures("plugin")
def test_an_entry_point_adds_an_embedder() -> None:
    assert [16, 32] == [resolve(name).dimension for name in ("mine", "mine:32")]


@pytest.mark.usefixtures("plugin")
def test_an_entry_point_that_gives_no_embedder_is_named() -> None:
    with pytest.raises(UnknownEmbedder, match=r"'broken' \(embedder_plugin:broken\)"):
        resolve("broken")


@pytest.mark.parametrize(
    ("name", "library"),
    [("ollama", "ollama"), ("transformers", "sentence_transformers"), ("model2vec", "model2vec")],
)
def test_a_missing_library_names_the_extra_that_brings_it(
    name: str, library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, f"embedders.{name}", raising=False)
    monkeypatch.delattr(embedders, name, raising=False)
    monkeypatch.setitem(sys.modules, library, None)

    with pytest.raises(MissingExtra, match=rf'pip install "chrysalis-memory\[{name}\]"') as caught:
        resolve(f"{name}:anything")

    assert caught.value.extra == name


def test_an_embedder_is_passed_through() -> None:
    embedder = HashingEmbedder()

    assert as_embedder(embedder) is embedder


def test_an_embedder_that_is_not_prepared_is_passed_through() -> None:
    embedder = FunctionEmbedder(len)

    assert as_embedder(embedder) is embedder


def test_a_callable_becomes_an_embedder() -> None:
    assert isinstance(as_embedder(lambda text: [1.0]), FunctionEmbedder)


@pytest.mark.parametrize("value", [None, 3, HashingEmbedder, object()])
def test_anything_else_is_refused(value: Any) -> None:
    with pytest.raises(UnknownEmbedder, match="expected an embedder"):
        as_embedder(value)


def test_the_public_names_are_sorted_and_there() -> None:
    assert sorted(embedders.__all__) == embedders.__all__
    assert all(hasattr(embedders, name) for name in embedders.__all__)
