"""The keys of peers, and what each peer may give: a TOML file, one table for each peer."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, NamedTuple, Self, cast

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from chrysalis_memory.crdt.counts import COUNT_MAX
from chrysalis_memory.errors import InvalidValue
from chrysalis_memory.query import Name, refused
from chrysalis_memory.replication.rights import Rights
from chrysalis_memory.replication.signing import PeerKey
from chrysalis_memory.servers.secret_file import read_tables


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
        tables = read_tables(where, what="keys")
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
