"""An embedding: a unit vector, the space it lives in, and the digest of the text it stands for."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from chrysalis_memory import codec
from chrysalis_memory.codec import shown
from chrysalis_memory.errors import InvalidValue

Vector = NDArray[np.float32]
VectorStorage = Literal["float32", "int8"]
"""What a store keeps of a vector: its components, or a quarter of the bytes."""


class Embedding:
    """A vector of a text.

    Attributes:
        vector: float32 of shape ``(dimension,)``, read only, scaled to unit length.
        model: The model or, within a store, the fingerprint of the embedding space.
        text_hash: 16-byte BLAKE2b digest of the text.

    Args:
        vector: Any finite, non-zero vector.
        model: Name of what made the vector.
        text: The text the vector stands for; give this or ``text_hash``.
        text_hash: The digest, where the text is not at hand.

    Raises:
        InvalidValue: not one-dimensional, NaN, infinite, all zero, or neither text nor digest.

    Example:
        >>> Embedding([3.0, 4.0], "demo", text="x").cosine_similarity([3.0, 4.0])
        1.0
    """

    __slots__ = ("model", "text_hash", "vector")

    def __init__(
        self,
        vector: Sequence[float] | NDArray[Any],
        model: str,
        text: str | None = None,
        *,
        text_hash: bytes | None = None,
    ) -> None:
        if (text is None) == (text_hash is None):
            raise InvalidValue("an embedding needs text= or text_hash=, and only one of them")
        self.model = codec.check_text(model, what="model")
        if text_hash is None:
            text_hash = codec.text_hash(codec.check_text(text, what="text"))
        if not isinstance(text_hash, bytes) or len(text_hash) != 16:  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidValue(f"text_hash is 16 bytes, got {shown(text_hash)}")
        self.text_hash = text_hash
        self.vector = unit_vector(vector)

    @property
    def dimension(self) -> int:
        """Number of components."""
        return len(self.vector)

    def cosine_similarity(self, other: "Embedding | Sequence[float] | NDArray[Any]") -> float:
        """Return the cosine of the angle to ``other``, from -1 to 1.

        Raises:
            InvalidValue: another dimension, or a vector without a direction.
        """
        vector = other.vector if isinstance(other, Embedding) else unit_vector(other)
        if vector.shape != self.vector.shape:
            raise InvalidValue(
                f"vectors of dimension {self.dimension} and {len(vector)} cannot be compared; "
                "they come from different models"
            )
        cosine = float(np.dot(self.vector.astype(np.float64), vector.astype(np.float64)))
        return round(min(1.0, max(-1.0, cosine)), 7)

    def __repr__(self) -> str:
        return f"Embedding(model={self.model!r}, dimension={self.dimension})"


def unit_vector(values: Sequence[float] | NDArray[Any]) -> Vector:
    """Return ``values`` as a read-only float32 vector of length 1.

    Raises:
        InvalidValue: not one-dimensional, empty, NaN, infinite, or all zero.
    """
    try:
        vector = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InvalidValue(f"a vector is a list of numbers: {error}") from error
    if vector.ndim != 1 or not len(vector):
        raise InvalidValue(f"a vector has one dimension and is not empty, got shape {vector.shape}")
    largest = float(np.abs(vector).max())
    if not np.isfinite(largest) or largest == 0.0:
        raise InvalidValue("a vector must be finite and not all zero")
    scaled = vector / largest  # squares of very large or small components leave float64
    unit = (scaled / np.linalg.norm(scaled)).astype(np.float32)
    unit.flags.writeable = False
    return unit
