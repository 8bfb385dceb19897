"""How a vector lies in its row: as float32, or as int8 in a quarter of the bytes.

A blob says by its length which of the two it is, so a file may hold both. The numbers of an int8
vector are ``round(127 · v / max|v|)``. Its scale is not kept, because what is decoded is given unit
length again. That also makes encoding what was decoded give the same bytes, whatever the dimension,
and no vector can become zero; ``round(127 · v)``, without the division, has neither property.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from chrysalis_memory.embedding import Vector, VectorStorage
from chrysalis_memory.errors import StorageError

_LARGEST = 127
FLOAT_BYTES = 4
_LENGTH_ERROR = 0.01


def encode(vector: Vector, storage: VectorStorage) -> bytes:
    """Return the blob of a unit vector: ``4 · dimension`` bytes, or ``dimension`` as int8."""
    if storage == "float32":
        return vector.astype("<f4").tobytes()
    scale = np.float32(_LARGEST) / np.abs(vector).max()
    return np.rint(vector * scale).astype(np.int8).tobytes()


def decode(blobs: Sequence[bytes], dimension: int) -> NDArray[np.float32]:
    """Return the unit vectors of blobs of either kind, of shape ``(len(blobs), dimension)``.

    Equal blobs give equal rows, whatever lies beside them.

    Raises:
        StorageError: a blob that can be neither, or an int8 vector of zeros; the file is damaged.
    """
    lengths = set(map(len, blobs))
    if lengths <= {FLOAT_BYTES * dimension}:
        return np.frombuffer(b"".join(blobs), "<f4").reshape(-1, dimension)
    if lengths == {dimension}:
        return _of_int8(blobs, dimension)
    neither = lengths - {dimension, FLOAT_BYTES * dimension}
    if neither:
        raise _damaged(f"one of {min(neither)} bytes")
    vectors = np.empty((len(blobs), dimension), np.float32)
    for length in lengths:
        places = [place for place, blob in enumerate(blobs) if len(blob) == length]
        vectors[places] = decode([blobs[place] for place in places], dimension)
    return vectors


def is_unit(blob: bytes, dimension: int) -> bool:
    """Tell whether a blob is that of a unit vector."""
    try:
        (vector,) = decode([blob], dimension)
    except StorageError:
        return False
    return bool(abs(np.vecdot(vector, vector) - 1) <= _LENGTH_ERROR)  # never of NaN


def _of_int8(blobs: Sequence[bytes], dimension: int) -> NDArray[np.float32]:
    stored = np.frombuffer(b"".join(blobs), np.int8).reshape(-1, dimension)
    vectors = stored.astype(np.float32)
    squares = np.vecdot(vectors, vectors)
    if not squares.all():
        raise _damaged("one of zeros")
    vectors /= np.sqrt(squares)[:, None]
    return vectors


def _damaged(what: str) -> StorageError:
    return StorageError(
        f"among the stored vectors is {what}, which none of this space can be: the file is "
        "damaged; export its memories and import them into a new file"
    )
