"""The keys of peers, and what each peer may give: a TOML file, one table for each peer."""

import os
import stat
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, NamedTuple, Self, cast

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from chrysalis_memory.crdt.counts import COUNT_MAX
from chrysalis_memory.errors import InvalidValue
from chrysalis_memory.query import Name, refused
from chrysalis_memory.replication.rights import Rights
from chrysalis_memory.replication.signing import PeerKey

_FILE_BYTES_MAX = 4 << 20
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


class KeyEntry(BaseModel):
    """What the file says of one peer."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    key: SecretStr
    """At least 32 random bytes, as hex or Base64."""
    relays: bool = False
    """Whether it may raise use counters of replicas that are not its own."""
    importance_max: Annotated[float, Field(ge=0, le=1)] = 1.0
    """The greatest importance it may bring."""
    access_max: Annotated[int, Field(ge=0, lt=COUNT_MAX)] = COUNT_MAX - 1
    """The greatest use count it may bring, for one replica and one memory."""
    replicas: tuple[Name, ...] = ()
    """Replica ids that are its own, beside those that its key has come with."""


class Peer(NamedTuple):
    """A peer with a key."""

    key: PeerKey
    rights: Rights


class Keyring:
    """The peers that a server lets sync; shows their names, never their keys.

    Args:
        entries: What is said of each peer, by its name.

    Raises:
        InvalidValue: no peer, a key or a name that is refused, or two peers that share a key or a
            replica id.
    """

    def __init__(self, entries: dict[str, KeyEntry]) -> None:
        if not entries:
            raise InvalidValue("there is no key of any peer; make one with: chrysalis keygen NAME")
        owners = _owners(entries)
        self._peers = {
            name: Peer(PeerKey(name, entry.key.get_secret_value()), _rights(name, entry, owners))
            for name, entry in entries.items()
        }
        _check_secrets(peer.key for peer in self._peers.values())

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """Read a file that nobody but its owner may read.

        Raises:
            InvalidValue: it cannot be read, others can read it, or something in it is refused; no
                message shows a key.
        """
        where = Path(path).expanduser()
        tables = _read_tables(where)
        entries: dict[str, KeyEntry] = {}
        for name, table in tables.items():
            if not isinstance(table, dict):
                raise InvalidValue(
                    f"{where}: {name} stands outside a table; a peer is written as [name], "
                    'then key = "..."'
                )
            try:
                entries[name] = KeyEntry(**cast("dict[str, Any]", table))
            except ValidationError as error:
                raise refused(error, what=f"{where}: [{name}] ") from None
        try:
            return cls(entries)
        except InvalidValue as error:
            raise InvalidValue(f"{where}: {error}") from None

    def get(self, name: str) -> Peer | None:
        """Return a peer by its name."""
        return self._peers.get(name)

    @property
    def names(self) -> Iterable[str]:
        """The names of all peers."""
        return self._peers.keys()

    def __repr__(self) -> str:
        return f"Keyring({', '.join(map(repr, self._peers))})"


def _rights(name: str, entry: KeyEntry, owners: Mapping[str, str]) -> Rights:
    return Rights(name, entry.relays, entry.importance_max, entry.access_max, owners)


def _owners(entries: Mapping[str, KeyEntry]) -> dict[str, str]:
    owners: dict[str, str] = {}
    for name, entry in entries.items():
        for replica in entry.replicas:
            other = owners.setdefault(replica, name)
            if other != name:
                raise InvalidValue(f"{other!r} and {name!r} both have the replica {replica!r}")
    return owners


def _check_secrets(keys: Iterable[PeerKey]) -> None:
    names: dict[str, str] = {}
    for key in keys:
        other = names.setdefault(key.mac("is this another key?"), key.name)
        if other != key.name:
            raise InvalidValue(
                f"{other!r} and {key.name!r} share a key, so each could speak as the other; give "
                "every peer its own"
            )


def _read_tables(where: Path) -> dict[str, Any]:
    try:
        with where.open("rb") as file:
            # Of the file that is open, not of what its path leads to a moment later.
            mode = os.fstat(file.fileno()).st_mode
            if os.name == "posix" and mode & _OTHERS:
                raise InvalidValue(
                    f"{where} holds keys and other users may read or write it "
                    f"(mode {stat.S_IMODE(mode):o}); run: chmod 600 {where}"
                )
            content = file.read(_FILE_BYTES_MAX + 1)
    except OSError as error:
        raise InvalidValue(f"the keys in {where} cannot be read: {error.strerror}") from error
    if len(content) > _FILE_BYTES_MAX:
        raise InvalidValue(f"{where} is over {_FILE_BYTES_MAX:,} bytes; is it a file of keys?")
    try:
        return tomllib.loads(content.decode())
    except ValueError as error:
        # What TOML says of a line names no value; what UTF-8 says shows bytes, so it is left out.
        told = str(error) if isinstance(error, tomllib.TOMLDecodeError) else "it is not UTF-8"
        raise InvalidValue(f"{where} is not TOML: {told}") from None
