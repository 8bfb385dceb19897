"""The contract every embedder keeps, and the checks that all of them share.

An embedder turns texts into unit vectors. Its `fingerprint` names the embedding space: vectors
with the same fingerprint can be compared, vectors with different ones cannot.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, Protocol, get_args

from embedders.errors import DimensionMismatch, InvalidText, InvalidVector, NotPrepared

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

InputType = Literal["document", "query"]

FINGERPRINT_HEX_DIGITS = 12


class Embedder(Protocol):
    """Text in, unit vectors out.

    Any object with these members is an embedder; nothing needs to be subclassed. Calls may
    overlap. A call that is cancelled leaves the embedder usable.
    """

    @property
    def model(self) -> str:
        """The name of the model, for people."""
        ...

    @property
    def dimension(self) -> int:
        """The length of every vector.

        Raises:
            NotPrepared: The model was not asked yet and no dimension was given.
        """
        ...

    @property
    def max_tokens(self) -> int | None:
        """How many tokens the model reads at once, special ones included; None if unknown.

        A longer text is not cut: it is embedded in windows (see `embedders.windows`).
        """
        ...

    @property
    def fingerprint(self) -> str:
        """The name of the embedding space, equal in every process and on every machine.

        Made of the provider, the model, the dimension and a digest of whatever else decides
        where a text lands: weights, prefixes. The same for documents and queries.

        Raises:
            NotPrepared: The dimension or the weights are not known yet.
        """
        ...

    async def prepare(self) -> None:
        """Make `dimension` and `fingerprint` known; may load a model or ask a server.

        Calling it is optional and calling it again is cheap. Where the dimension was passed
        explicitly to a remote embedder, both are known without it.

        Raises:
            EmbedderUnavailable: The model cannot be reached now; trying again may help.
            ModelNotFound: There is no such model.
        """
        ...

    async def embed(
        self, texts: Sequence[str], *, input_type: InputType = "document"
    ) -> NDArray[np.float32]:
        """Embed texts, in the order given.

        Args:
            texts: The texts; none may be empty. A text of any length is embedded whole.
            input_type: Whether the texts are kept ("document", the default) or looked for
                ("query"). Some models embed the two differently.

        Returns:
            Array of shape (len(texts), dimension); every row has unit length (L2).

        Raises:
            InvalidText: A text is not a string, empty or not valid Unicode.
            EmbedderUnavailable: The model cannot be reached now; trying again may help.
            ModelNotFound: There is no such model.
            InvalidVector: The model answered with something unusable.
        """
        ...

    async def close(self) -> None:
        """Release connections and memory. Closing twice is allowed."""
        ...


class LateDimension:
    """What embedders share whose dimension is known only once the model was asked or loaded."""

    _model: str
    _dimension: int | None

    @property
    def model(self) -> str:
        """The name of the model, as given."""
        return self._model

    @property
    def dimension(self) -> int:
        """The length of every vector.

        Raises:
            NotPrepared: It was not given, and the model was not asked or loaded yet.
        """
        if self._dimension is None:
            raise NotPrepared(self._model)
        return self._dimension


def check_texts(texts: Sequence[str], input_type: InputType) -> list[str]:
    """Check what was passed to `embed`, before anything expensive happens.

    Args:
        texts: The texts to check.
        input_type: Must be "document" or "query".

    Returns:
        The same texts as a new list.

    Raises:
        InvalidText: `texts` is one string, or one of them is not a string, is empty or white
            space only, or holds a lone surrogate.
        ValueError: Another `input_type`.
    """
    if input_type not in get_args(InputType):
        raise ValueError(f"input_type must be 'document' or 'query', got {input_type!r}")
    if isinstance(texts, str):
        raise InvalidText(f"expected a list of texts, got one string: pass [{_shorten(texts)}]")
    checked = list(texts)
    for position, text in enumerate(checked):
        _check_text(text, position)
    return checked


def _check_text(text: object, position: int) -> None:
    if not isinstance(text, str):
        raise InvalidText(
            f"texts[{position}] must be a str, got {type(text).__name__}: {_shorten(text)}"
        )
    if not text or text.isspace():
        raise InvalidText(
            f"texts[{position}] is {_shorten(text)}: an empty text has no meaning to embed"
        )
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InvalidText(
            f"texts[{position}] is not valid Unicode: {error.reason} at character {error.start} "
            "(a lone surrogate; decode the text with errors='replace' to keep the rest)"
        ) from error


def unit_rows(
    vectors: ArrayLike,
    *,
    count: int,
    dimension: int | None,
    source: str = "the model",
    positions: Sequence[int] | None = None,
) -> NDArray[np.float32]:
    """Check what a model returned and scale every row to length 1.

    Every embedder passes its vectors through here exactly once, so nothing else needs to check
    or normalise.

    Args:
        vectors: Anything numpy can read as a table of numbers.
        count: How many rows there must be, one per text.
        dimension: How long each row must be; None when the model is being asked for it.
        source: Who produced the vectors, for the error message.
        positions: For every row the position of its text in the caller's list, for the error
            message; by default the row's own.

    Returns:
        Array of shape (count, dimension), rows divided by their L2 norm.

    Raises:
        InvalidVector: Not a table of numbers, not `count` rows, or a row that is zero or holds
            NaN or an infinity.
        DimensionMismatch: The rows are not `dimension` long.
    """
    import numpy as np

    if count == 0 and np.size(np.asarray(vectors, dtype=object)) == 0:
        return np.zeros((0, dimension or 0), dtype=np.float32)
    try:
        # Squaring in float64 keeps the norm of large and tiny float32 rows exact.
        table = np.asarray(vectors, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InvalidVector(f"{source} did not answer with a table of numbers: {error}") from error
    if table.ndim != 2 or len(table) != count:
        raise InvalidVector(
            f"expected {count} vectors from {source}, one per text, got shape {table.shape}"
        )
    if table.shape[1] == 0:
        raise InvalidVector(f"{source} answered with vectors of length 0")
    if dimension is not None and table.shape[1] != dimension:
        raise DimensionMismatch(expected=dimension, actual=table.shape[1], source=source)
    broken = ~np.isfinite(table).all(axis=1)
    if broken.any():
        named = _name_row(broken, positions)
        raise InvalidVector(f"the vector of {named} from {source} holds NaN or an infinity")
    norms = np.linalg.norm(table, axis=1, keepdims=True)
    zero = norms[:, 0] < np.finfo(np.float32).tiny
    if zero.any():
        named = _name_row(zero, positions)
        raise InvalidVector(f"the vector of {named} from {source} is zero: it has no direction")
    return (table / norms).astype(np.float32)


def space_fingerprint(provider: str, model: str, dimension: int, *details: str) -> str:
    """Name an embedding space.

    Args:
        provider: The kind of embedder, such as "ollama".
        model: The model's name; must not be a path, which differs between machines.
        dimension: The length of the vectors.
        details: Whatever else decides where a text lands: weight digests, prefixes, options.

    Returns:
        "provider/model/dimension/digest", the digest being 12 hexadecimal digits of the BLAKE2b
        (RFC 7693) of the details.
    """
    hasher = hashlib.blake2b(digest_size=FINGERPRINT_HEX_DIGITS // 2)
    for detail in details:
        encoded = detail.encode("utf-8")
        # The length keeps ("ab", "c") and ("a", "bc") apart.
        hasher.update(len(encoded).to_bytes(8, "big") + encoded)
    return f"{provider}/{model}/{dimension}/{hasher.hexdigest()}"


def _name_row(flags: ArrayLike, positions: Sequence[int] | None) -> str:
    import numpy as np

    row = int(np.argmax(flags))
    return f"texts[{row if positions is None else positions[row]}]"


def _shorten(value: object, limit: int = 60) -> str:
    shown = repr(value if not isinstance(value, str) else value[:limit])
    return shown if len(shown) <= limit + 2 else shown[:limit] + "…"
