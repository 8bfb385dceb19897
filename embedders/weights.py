"""A digest of a model's weights, the same wherever and in whatever file they are kept."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray


def digest_arrays(arrays: Mapping[str, NDArray[np.generic]]) -> str:
    """Digest named arrays: names, types, shapes and values, in the order of the names.

    Args:
        arrays: The weights by name.

    Returns:
        The BLAKE2b (RFC 7693) of everything, 32 hexadecimal digits.
    """
    hasher = hashlib.blake2b(digest_size=16)
    for name in sorted(arrays):
        values = np.ascontiguousarray(arrays[name])
        hasher.update(f"{name} {values.dtype.str} {values.shape}\n".encode())
        hasher.update(values.tobytes())
    return hasher.hexdigest()
