"""The key of an encrypted file: given as a value or by a callback, and never shown."""

from collections.abc import Callable
from typing import Self, cast

from pydantic import SecretBytes, SecretStr

from chrysalis_memory.errors import InvalidValue

KeySource = str | bytes | SecretStr | SecretBytes | Callable[[], str | bytes]
"""A key, or what returns it when a file is opened."""

_BYTES_MAX = 4096


class EncryptionKey:
    """A key, asked for when it is needed.

    Args:
        source: A passphrase, bytes, or what returns either whenever a connection is opened.

    Raises:
        InvalidValue: something else, or an empty key.
    """

    __slots__ = ("_source",)

    def __init__(self, source: KeySource) -> None:
        given = source.get_secret_value() if isinstance(source, SecretStr | SecretBytes) else source
        self._source = given
        if not callable(given):
            self.value()

    @classmethod
    def of(cls, given: "KeySource | EncryptionKey | None") -> Self | None:
        """Return a key, or ``None`` where none is given.

        Raises:
            InvalidValue: what is given is no key.
        """
        if given is None or isinstance(given, cls):
            return given
        return cls(cast("KeySource", given))

    def value(self) -> bytes:
        """Return the key itself.

        Raises:
            InvalidValue: what was given, or a callback returned, is no key.
        """
        given = self._source() if callable(self._source) else self._source
        if not isinstance(given, str | bytes):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidValue(f"a key is a string or bytes, got {type(given).__name__}")
        value = given.encode() if isinstance(given, str) else given
        if not 0 < len(value) <= _BYTES_MAX:
            raise InvalidValue(
                f"a key has 1 to {_BYTES_MAX} bytes, got {len(value)}; without one, leave it out"
            )
        return value

    def __repr__(self) -> str:
        return "EncryptionKey('**********')"

    def __reduce__(self) -> str:
        raise TypeError("a key is not pickled or copied into other programs")
