"""Reading files of others: bounded, strict, and saying where something is wrong."""

import lzma
import struct
import zipfile
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from pydantic import BaseModel, ValidationError

from chrysalis_memory import codec
from chrysalis_memory.codec import shown
from chrysalis_memory.errors import InvalidDocument

M = TypeVar("M", bound=BaseModel)

FILE_BYTES_MAX = 512 << 20
"""Of one JSON document; some ten years of daily conversation."""
TEXT_BYTES_MAX = 16 << 20
"""Of one text."""
LINE_BYTES_MAX = 16 << 20
_BYTES_A_VALUE = 16
"""Values of conversations are longer on average. What is shorter takes many times its size."""
_MEMBERS_MAX = 100
# JSON shrinks to a tenth, rarely to a fiftieth.
_RATIO_MAX = 200
_CONVERSATIONS = "conversations*.json"
_ZIP_ERRORS = (
    zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, OverflowError, zlib.error,
    lzma.LZMAError, struct.error,
)  # fmt: skip


class Document(NamedTuple):
    """A JSON document and the name it has in errors."""

    where: str
    value: Any


def documents(path: Path) -> Iterator[Document]:
    """Read the JSON documents of a file, of an export's folder, or of its zip file.

    Raises:
        InvalidDocument: what is there is no strict JSON, too large, or not there.
    """
    if path.is_dir():
        for part in _required(sorted(path.glob(_CONVERSATIONS)), path):
            yield _parsed(str(part), _bytes(part, FILE_BYTES_MAX))
    elif zipfile.is_zipfile(path):
        yield from _unzipped(path)
    else:
        yield _parsed(str(path), _bytes(path, FILE_BYTES_MAX))


def holds_conversations(path: Path) -> bool:
    """Tell whether a folder or a file is an export of conversations, zipped or not."""
    return any(path.glob(_CONVERSATIONS)) if path.is_dir() else zipfile.is_zipfile(path)


def lines(path: Path) -> Iterator[tuple[str, bytes]]:
    """Iterate over the lines of a file that are not blank, each with its place.

    Raises:
        InvalidDocument: a line is too long.
    """
    with path.open("rb") as file:
        number = 0
        while line := file.readline(LINE_BYTES_MAX + 1):
            number += 1
            if len(line) > LINE_BYTES_MAX:
                raise InvalidDocument(f"{path}:{number}: a line of over {LINE_BYTES_MAX:,} bytes")
            if line.strip():
                yield f"{path}:{number}", line


def json_object(line: bytes, where: str) -> dict[str, Any]:
    """Read a line that is one JSON object.

    Raises:
        InvalidDocument: it is none.
    """
    value = _parsed(where, line).value
    if not isinstance(value, dict):
        raise InvalidDocument(f"{where}: a line is one JSON object, got {shown(value)}")
    return value  # pyright: ignore[reportUnknownVariableType]


def text(path: Path) -> str:
    """Read a text in UTF-8, with or without a mark at its beginning.

    Raises:
        InvalidDocument: it is not UTF-8, or too large.
    """
    try:
        return _bytes(path, TEXT_BYTES_MAX).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidDocument(f"{path} is not UTF-8: {error}") from error


def checked(model: type[M], value: object, where: str) -> M:
    """Return a JSON value as what it should be.

    Raises:
        InvalidDocument: it is something else; the message says what of it.
    """
    try:
        return model.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        inner = ".".join(str(part) for part in first["loc"])
        raise InvalidDocument(f"{where}: {inner}{': ' if inner else ''}{first['msg']}") from error


def said_at(moment: float | str, where: str) -> str:
    """Return a moment, in seconds since 1970 or as ISO text, as text in UTC that sorts by time.

    Raises:
        InvalidDocument: it is no moment.
    """
    try:
        if isinstance(moment, str):
            read = datetime.fromisoformat(moment)
            at = read.replace(tzinfo=UTC) if read.tzinfo is None else read.astimezone(UTC)
        else:
            at = datetime.fromtimestamp(moment, UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise InvalidDocument(f"{where}: {shown(moment)} is no moment: {error}") from error
    return at.isoformat(timespec="milliseconds")


def _unzipped(path: Path) -> Iterator[Document]:
    try:
        with zipfile.ZipFile(path) as archive:
            parts = [one for one in archive.infolist() if Path(one.filename).match(_CONVERSATIONS)]
            _required(parts, path)
            for part in sorted(parts, key=lambda one: one.filename):
                where = f"{path}:{part.filename}"
                _refuse_bomb(part, where)
                with archive.open(part) as file:
                    yield _parsed(where, _limited(file.read(FILE_BYTES_MAX + 1), where))
    except InvalidDocument:
        raise
    except (*_ZIP_ERRORS, ValueError, OSError) as error:  # places in a damaged file lead anywhere
        raise InvalidDocument(f"{path} cannot be unzipped: {error}") from error


def _refuse_bomb(part: zipfile.ZipInfo, where: str) -> None:
    size, packed = part.file_size, max(part.compress_size, 1)
    if size > FILE_BYTES_MAX or size // packed > _RATIO_MAX:
        raise InvalidDocument(
            f"{where} would unpack from {packed:,} to {size:,} bytes, which no export does; "
            "nothing was unpacked"
        )


def _required(parts: list[Any], path: Path) -> list[Any]:
    if not parts:
        raise InvalidDocument(f"{path} holds no conversations.json; give the export itself")
    if len(parts) > _MEMBERS_MAX:
        raise InvalidDocument(f"{path} holds {len(parts):,} files of conversations; split it")
    return parts


def _bytes(path: Path, limit: int) -> bytes:
    with path.open("rb") as file:
        data = file.read(limit + 1)
    return _limited(data, str(path), limit)


def _limited(data: bytes, where: str, limit: int = FILE_BYTES_MAX) -> bytes:
    if len(data) > limit:
        raise InvalidDocument(f"{where} is over the limit of {limit:,} bytes; split it")
    return data


def _parsed(where: str, data: bytes) -> Document:
    try:
        return Document(
            where,
            codec.parse_json(data, most_values=codec.VALUES_MAX + len(data) // _BYTES_A_VALUE),
        )
    except InvalidDocument as error:
        raise InvalidDocument(f"{where}: {error}") from error
