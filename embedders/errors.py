"""Every error an embedder raises, and the root of all errors of this distribution.

    ChrysalisError                 root of every error the distribution raises
    └── EmbedderError              everything raised by this package
        ├── EmbedderUnavailable    cannot be reached or is busy; trying again may help
        ├── ModelNotFound          the embedder is there, the model is not
        ├── UnknownEmbedder        no embedder goes by that name
        ├── MissingExtra           an optional dependency is not installed
        ├── NotPrepared            the dimension is not known yet
        ├── InvalidText            something that cannot be embedded was passed in
        ├── TextTooLong            a text exceeds what the model can take, even split
        └── InvalidVector          what came back is not a list of usable vectors
            └── DimensionMismatch  its length is not the length of this space

The root lives here because `embedders` is the lowest package: it imports nothing of
`chrysalis_memory`, whose own errors extend the same root. Catch `EmbedderUnavailable` to try
again later, `EmbedderError` for anything an embedder may do, `ChrysalisError` for everything.
"""

from __future__ import annotations


class ChrysalisError(Exception):
    """Root of every error that this distribution raises."""


class EmbedderError(ChrysalisError):
    """Something went wrong while turning text into vectors."""


class EmbedderUnavailable(EmbedderError):
    """The embedder could not be reached, was too slow or too busy; trying again may help."""


class ModelNotFound(EmbedderError):
    """The embedder works but does not have, or cannot read, the model it was asked for."""


class UnknownEmbedder(EmbedderError):
    """No embedder goes by the given name, or the value cannot serve as one."""


class MissingExtra(EmbedderError):
    """An embedder needs an optional dependency that is not installed.

    Attributes:
        extra: Name of the extra that brings the dependency.
    """

    def __init__(self, embedder: str, *, extra: str, module: str) -> None:
        """Say which embedder needs what, and the command that installs it.

        Args:
            embedder: The name of the embedder, as `resolve` knows it.
            extra: The extra of the distribution that brings the dependency.
            module: The module whose import failed.
        """
        super().__init__(
            f"the {embedder!r} embedder needs the module {module!r}, which is not installed: "
            f'pip install "chrysalis-memory[{extra}]"'
        )
        self.extra = extra


class NotPrepared(EmbedderError):
    """The dimension, and with it the fingerprint, is not known before the model was asked."""

    def __init__(self, model: str) -> None:
        """Say which model, and how its dimension becomes known.

        Args:
            model: The model whose dimension is unknown.
        """
        super().__init__(
            f"the dimension of {model!r} is not known yet: await prepare(), embed a text first, "
            "or pass dimension= when creating the embedder"
        )


class InvalidText(EmbedderError):
    """A text cannot be embedded: not a string, nothing but white space, or no valid Unicode."""


class TextTooLong(EmbedderError):
    """A text exceeds what the model takes, and splitting it did not or could not help."""


class InvalidVector(EmbedderError):
    """The embedder answered with something that is not one finite, non-zero vector per text."""


class DimensionMismatch(InvalidVector):
    """The vectors do not have the length that this embedding space has."""

    def __init__(self, *, expected: int, actual: int, source: str = "") -> None:
        """Name both lengths.

        Args:
            expected: The dimension of the embedding space.
            actual: The length of the vectors that arrived.
            source: Who sent them, for the message.
        """
        sender = f" from {source}" if source else ""
        super().__init__(
            f"expected vectors of dimension {expected}{sender}, got {actual}: another model or "
            "another dimension= is another embedding space"
        )
        self.expected = expected
        self.actual = actual
