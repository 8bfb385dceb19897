"""From a name such as "ollama:nomic-embed-text", or any other value, to an embedder.

A name is "provider" or "provider:model". The providers of this package are known here; other
distributions add theirs through the entry point group `chrysalis_memory.embedders`, whose
values are callables that take the model (or None) and return an embedder. A provider's module
is imported only when it is asked for.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from typing import TYPE_CHECKING, NamedTuple, cast

from embedders.errors import UnknownEmbedder

if TYPE_CHECKING:
    from embedders.base import Embedder

ENTRY_POINT_GROUP = "chrysalis_memory.embedders"

_DIMENSION = re.compile(r"[1-9][0-9]{0,8}")
_MEMBERS = ("model", "dimension", "max_tokens", "fingerprint", "prepare", "embed", "close")


def resolve(name: str) -> Embedder:
    """Make the embedder that a name stands for. No model is loaded yet.

    Args:
        name: "minilm"; "hashing" or "hashing:512"; "ollama:MODEL"; "transformers:PATH_OR_NAME";
            "model2vec:PATH_OR_NAME"; "truncate:DIMENSION:NAME" with any of these names; or one
            added by an entry point.

    Returns:
        A new embedder with its default options.

    Raises:
        UnknownEmbedder: No provider goes by this name, two distributions claim it, the model is
            missing where one is needed, or given where none can be.
        MissingExtra: The provider needs an optional dependency that is not installed.
    """
    provider, _, model = name.partition(":")
    if provider in _BUILT_IN:
        return _BUILT_IN[provider](model or None)
    added = entry_points(group=ENTRY_POINT_GROUP, name=provider)
    if len(added) > 1:
        values = ", ".join(sorted(point.value for point in added))
        raise UnknownEmbedder(f"{len(added)} distributions add {provider!r}: {values}; keep one")
    if not added:
        raise UnknownEmbedder(f"no embedder is called {provider!r}; known: {', '.join(known())}")
    return _load(next(iter(added)), model or None)


def known() -> list[str]:
    """List every provider name, built in or added by an entry point, sorted."""
    added = {point.name for point in entry_points(group=ENTRY_POINT_GROUP)}
    return sorted(added | set(_BUILT_IN))


class Provider(NamedTuple):
    """What can make embedders."""

    form: str
    """Its name, as :func:`resolve` takes it."""
    installed: bool
    """Whether all that it needs is there; whether its model is, only using it tells."""
    install: str | None
    """The command that installs what it needs; ``None`` where the package has it."""


def providers() -> list[Provider]:
    """Return every provider, built in or added by an entry point, by name; imports none."""
    return [_provider(name) for name in known()]


def _provider(name: str) -> Provider:
    form, needed = _FORMS.get(name, (name, None))
    if needed is None:
        return Provider(form, installed=True, install=None)
    is_there = find_spec(needed) is not None
    return Provider(form, is_there, f"pip install 'chrysalis-memory[{name}]'")


def as_embedder(value: Embedder | str | Callable[..., object]) -> Embedder:
    """Make an embedder of whatever a user passes for one.

    Args:
        value: An embedder, which is returned as it is; a name for `resolve`; or a sync or async
            callable that turns one text into a list of floats.

    Returns:
        The embedder.

    Raises:
        UnknownEmbedder: The value is none of these, or a name that nothing goes by.
        MissingExtra: The named provider needs a dependency that is not installed.
    """
    if isinstance(value, str):
        return resolve(value)
    if _is_embedder(value):
        return cast("Embedder", value)
    if callable(value) and not isinstance(value, type):
        from embedders.function import FunctionEmbedder

        return FunctionEmbedder(value)
    raise UnknownEmbedder(
        f"expected an embedder, a name such as 'minilm' or a callable, got {value!r}"
    )


def _is_embedder(value: object) -> bool:
    # getattr_static, because reading `dimension` may raise before the embedder is prepared.
    if isinstance(value, type):
        return False
    missing = object()
    return all(inspect.getattr_static(value, name, missing) is not missing for name in _MEMBERS)


def _load(point: EntryPoint, model: str | None) -> Embedder:
    embedder = point.load()(model)
    if not _is_embedder(embedder):
        raise UnknownEmbedder(
            f"the entry point {point.name!r} ({point.value}) returned {embedder!r}, "
            f"which lacks some of: {', '.join(_MEMBERS)}"
        )
    return cast("Embedder", embedder)


def _minilm(model: str | None) -> Embedder:
    from embedders.minilm import MODEL_NAME, MiniLMEmbedder

    if model not in (None, MODEL_NAME):
        raise UnknownEmbedder(f"'minilm' is {MODEL_NAME} and takes no other model, got {model!r}")
    return MiniLMEmbedder()


def _hashing(model: str | None) -> Embedder:
    from embedders.hashing import HashingEmbedder

    if model is None:
        return HashingEmbedder()
    if not model.isdecimal() or int(model) < HashingEmbedder.DIMENSION_MIN:
        raise UnknownEmbedder(
            f"'hashing' takes a dimension of at least {HashingEmbedder.DIMENSION_MIN}, "
            f"as in 'hashing:512', got {model!r}"
        )
    return HashingEmbedder(int(model))


def _ollama(model: str | None) -> Embedder:
    from embedders.ollama import OllamaEmbedder

    return OllamaEmbedder(_needed("ollama", model, "nomic-embed-text"))


def _transformers(model: str | None) -> Embedder:
    from embedders.transformers import TransformersEmbedder

    return TransformersEmbedder(_needed("transformers", model, "/path/to/model"))


def _model2vec(model: str | None) -> Embedder:
    from embedders.model2vec import Model2VecEmbedder

    return Model2VecEmbedder(_needed("model2vec", model, "/path/to/model"))


def _truncate(model: str | None) -> Embedder:
    from embedders.truncated import TruncatedEmbedder

    dimension, _, name = (model or "").partition(":")
    if not _DIMENSION.fullmatch(dimension) or not name:
        raise UnknownEmbedder(
            "'truncate' takes a dimension of at least 1 and an embedder's name, as in "
            f"'truncate:256:ollama:nomic-embed-text', got {model!r}"
        )
    return TruncatedEmbedder(resolve(name), int(dimension))


def _needed(provider: str, model: str | None, example: str) -> str:
    if model is None:
        raise UnknownEmbedder(f"{provider!r} needs a model, as in '{provider}:{example}'")
    return model


_BUILT_IN: dict[str, Callable[[str | None], Embedder]] = {
    "hashing": _hashing,
    "minilm": _minilm,
    "model2vec": _model2vec,
    "ollama": _ollama,
    "transformers": _transformers,
    "truncate": _truncate,
}

# The form of each name, and the module that an extra of the provider's name brings.
_FORMS: dict[str, tuple[str, str | None]] = {
    "hashing": ("hashing[:DIMENSION]", None),
    "minilm": ("minilm", None),
    "model2vec": ("model2vec:PATH_OR_NAME", "model2vec"),
    "ollama": ("ollama:MODEL", "ollama"),
    "transformers": ("transformers:PATH_OR_NAME", "sentence_transformers"),
    "truncate": ("truncate:DIMENSION:NAME", None),
}
