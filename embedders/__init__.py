"""Text in, unit vectors out: one protocol, several models, usable on its own.

    from embedders import resolve

    embedder = resolve("minilm")
    vectors = await embedder.embed(["The cat slept on the sofa."])  # shape (1, 384)

Importing this package loads no model and no machine-learning library; an embedder's module is
imported when it is asked for by name.
"""

from __future__ import annotations

from embedders.base import Embedder, InputType
from embedders.errors import (
    ChrysalisError,
    DimensionMismatch,
    EmbedderError,
    EmbedderUnavailable,
    InvalidText,
    InvalidVector,
    MissingExtra,
    ModelNotFound,
    NotPrepared,
    TextTooLong,
    UnknownEmbedder,
)
from embedders.resolve import as_embedder, resolve

__all__ = [
    "ChrysalisError",
    "DimensionMismatch",
    "Embedder",
    "EmbedderError",
    "EmbedderUnavailable",
    "InputType",
    "InvalidText",
    "InvalidVector",
    "MissingExtra",
    "ModelNotFound",
    "NotPrepared",
    "TextTooLong",
    "UnknownEmbedder",
    "as_embedder",
    "resolve",
]
