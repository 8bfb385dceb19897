"""What is left of something in the files of a store: every run of eight bytes of it, anywhere."""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

WINDOW = 8
"""Bytes in a row that count as a trace: less may stand there by chance."""

Windows = NDArray[np.uint64]


class Trace(NamedTuple):
    """Bytes that were found."""

    file: str
    offset: int
    found: bytes


def windows_of(secrets: Iterable[bytes]) -> Windows:
    """Return every run of eight bytes that is part of one of the secrets, sorted."""
    found = [secret[at : at + WINDOW] for secret in secrets for at in range(len(secret) - 7)]
    return np.unique(np.frombuffer(b"".join(found), "<u8"))


def traces(
    folder: Path, texts: Iterable[str], blobs: Iterable[bytes], kept: Iterable[str | bytes]
) -> list[Trace]:
    """Return where a folder's files hold a part of what should be gone.

    Args:
        folder: Every file in it and below is read, byte for byte.
        texts: Looked for as they are and in lower case, in UTF-8 and in both kinds of UTF-16.
        blobs: Looked for as they are.
        kept: What may be there; parts that it shares with the others do not count.
    """
    kept = list(kept)
    words = [form.encode() for text in texts for form in (text, text.lower())]
    known = [form.encode() for one in kept if isinstance(one, str) for form in (one, one.lower())]
    text_windows = np.setdiff1d(windows_of(words), windows_of(known))
    known = [one for one in kept if isinstance(one, bytes)]
    blob_windows = np.setdiff1d(windows_of(blobs), windows_of(known))
    found: list[Trace] = []
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        data = path.read_bytes()
        for form in (data, data.lower(), data[::2], data[1::2]):
            found += _found(path.name, form, text_windows)
        found += _found(path.name, data, blob_windows)
    return found


def _found(file: str, data: bytes, wanted: Windows) -> list[Trace]:
    places: list[int] = []
    if len(wanted) and len(data) >= 2 * WINDOW:
        for shift in range(WINDOW):
            runs = np.frombuffer(data, "<u8", count=(len(data) - shift) // WINDOW, offset=shift)
            at = np.minimum(np.searchsorted(wanted, runs), len(wanted) - 1)
            places += (np.flatnonzero(wanted[at] == runs) * WINDOW + shift).tolist()
    return [Trace(file, at, data[at : at + WINDOW]) for at in sorted(places)]
