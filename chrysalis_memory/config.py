"""Settings of an agent's memory: explicit arguments win over the environment over defaults."""

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self, cast

from platformdirs import user_data_path
from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PlainValidator,
    SecretStr,
    ValidationError,
    model_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict, SettingsError

from chrysalis_memory import codec, wire
from chrysalis_memory.database_url import DatabaseURL, named
from chrysalis_memory.embedding import VectorStorage
from chrysalis_memory.encryption_key import EncryptionKey
from chrysalis_memory.errors import InvalidValue
from chrysalis_memory.provenance import Trust
from chrysalis_memory.query import refused
from chrysalis_memory.recall import Weights
from chrysalis_memory.replication.peers import peer_name, takes_token
from chrysalis_memory.replication.signing import PeerKey
from chrysalis_memory.storage import Accuracy

_PLAIN_ID = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)")


def _several(value: object) -> object:
    """Read one peer, a list of them, or a list as JSON, which is how the environment gives it."""
    if isinstance(value, str) and value.startswith("["):
        return json.loads(value)
    if isinstance(value, str | Path):
        return (str(value),)
    if isinstance(value, Iterable):
        several = cast("Iterable[object]", value)
        return tuple(str(one) if isinstance(one, Path) else one for one in several)
    return value


def _keys(value: object) -> object:
    """Check one key, or one for each of several peers, also as JSON; nothing shows a key."""
    if value is None:
        return None
    if isinstance(value, str) and value.startswith("{"):
        value = json.loads(value)
    if isinstance(value, Mapping):
        several = cast("Mapping[object, object]", value)
        return {peer_name(str(url)): _key(one) for url, one in several.items()}
    return _key(value)


def _key(value: object) -> SecretStr:
    secret = value if isinstance(value, SecretStr) else SecretStr(str(value))
    PeerKey.parse(secret.get_secret_value())
    return secret


def _place(value: object) -> Path | DatabaseURL | None:
    if value is None:
        return None
    if isinstance(value, str | Path | DatabaseURL):
        place = named(value)
        return place if isinstance(place, DatabaseURL) else Path(place)
    raise ValueError(f"a path is a string or a Path, got {type(value).__name__}")


def _trusted(factors: dict[str, float]) -> dict[str, float]:
    Trust.of(factors)
    return factors


class AgentMemoryConfig(BaseSettings):
    """Settings of :class:`~chrysalis_memory.AgentMemory`.

    Each can be given by an environment variable of its name with the prefix ``CHRYSALIS_``, for
    example ``CHRYSALIS_EMBEDDER=ollama:nomic-embed-text`` or ``CHRYSALIS_WEIGHTS__KEYWORD=0.5``.
    """

    model_config = SettingsConfigDict(
        env_prefix="CHRYSALIS_",
        env_nested_delimiter="__",
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,
    )

    path: Annotated[Path | DatabaseURL | None, PlainValidator(_place)] = None
    """The database file, or the URL of a PostgreSQL database; by default one file per agent in the
    user's data directory."""
    embedder: str | None = None
    """A name that ``embedders.resolve`` knows; default: the file's own, minilm for a new file."""
    on_embedder_change: Literal["refuse", "reindex"] = "refuse"
    """What to do with a file whose vectors another embedder made: raise, or embed all anew."""
    timeout_seconds: Annotated[float, Field(ge=0, lt=86_400)] = 5.0
    """How long a write waits for another process."""
    synchronous: Literal["FULL", "NORMAL"] = "FULL"
    """Whether a returned write survives a power cut (``FULL``)."""
    weights: Weights = Weights()
    """How recall weighs what it finds."""
    trust: Annotated[dict[str, float], AfterValidator(_trusted)] = Field(default_factory=dict)
    """How far sources are trusted, 0 to 1, by name or by a prefix that ends in ``*``; see
    docs/trust.md. In the environment a JSON object."""
    candidates: Annotated[int, Field(ge=1, le=1000)] = 20
    """How many candidates each index gives to recall, at least; never fewer than ``2 · k``, and 50
    where they are ranked again."""
    accuracy: Accuracy = "balanced"
    """How many of the nearest vectors recall finds where a space is large: ``"fast"``,
    ``"balanced"`` or ``"exact"``."""
    index_ram_bytes: Annotated[int, Field(ge=0)] = 256 << 20
    """RAM for the vector index, 4.8 MB per 100,000 vectors of 384 dimensions. A larger index is
    read from the file at every search."""
    vector_storage: VectorStorage = "float32"
    """What vectors are stored as from now on: ``"int8"`` takes a quarter of the bytes. A file may
    hold both."""
    common_name_share: Annotated[float, Field(ge=0, le=1)] = 0.1
    """A name in more than this share of memories is left out of the query's vector."""
    late_interaction: bool = False
    """Whether to keep the vectors of every memory's tokens, for ``recall(..., rerank="late")``."""
    embedding_batch: Annotated[int, Field(ge=1, le=4096)] = 64
    """How many texts go to the embedder at once."""
    access_flush_seconds: Annotated[float, Field(gt=0, le=3600)] = 1.0
    """How long use counts are gathered before they are written."""
    sync_with: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_several)] = ()
    """Peers to sync with in the background: paths and URLs, as :meth:`AgentMemory.sync` takes them.
    In the environment one, or a JSON list."""
    sync_seconds: Annotated[float, Field(gt=0, le=86_400)] = 60.0
    """How long to wait between two syncs with a peer, give or take a fifth; longer after failures,
    up to 15 minutes."""
    key: Annotated[EncryptionKey | None, PlainValidator(EncryptionKey.of)] = None
    """What encrypts the file: a passphrase, bytes, or what returns them; see docs/encryption.md."""
    token: SecretStr | None = None
    """The bearer token for peers on HTTP."""
    sync_key: Annotated[
        SecretStr | Mapping[str, SecretStr] | None, NoDecode, BeforeValidator(_keys)
    ] = None
    """What frames to peers on HTTP are signed with, ``name:secret`` as ``chrysalis keygen`` prints
    it; for several peers a mapping from URL to key, in the environment as JSON: whoever knows a
    key can speak as its peer, so no two servers may know the same."""
    telemetry_contents: bool = False
    """Whether spans hold queries and memories, where the program traces; see docs/telemetry.md."""

    @model_validator(mode="after")
    def _check_keys(self) -> Self:
        served = [peer for peer in self.sync_with if takes_token(peer)]
        if isinstance(self.sync_key, SecretStr) and len(served) > 1:
            raise ValueError(
                f"sync_key: one key for {len(served)} peers, each of which could then speak to the "
                "others as this one; give a mapping from URL to key"
            )
        return self

    def key_for(self, peer: str) -> SecretStr | None:
        """Return the key for a peer.

        Args:
            peer: Its name, as :func:`.replication.peers.peer_name` has it.
        """
        if isinstance(self.sync_key, Mapping):
            return self.sync_key.get(peer)
        return self.sync_key

    @classmethod
    def of(cls, **values: Any) -> Self:
        """Build from keyword arguments, leaving out those that are ``None``.

        Raises:
            InvalidValue: an argument or an environment variable that is refused.
        """
        try:
            return cls(**{name: value for name, value in values.items() if value is not None})
        except ValidationError as error:
            raise refused(error, what="setting ") from error
        except SettingsError as error:  # a setting of several parts, which is JSON there
            raise InvalidValue(f"environment: {error}: {error.__cause__}") from error


def default_path(agent_id: str) -> Path:
    """Return the database file of an agent in the user's data directory.

    Ids that are not plain file names everywhere get a digest after a dot, which plain ids do not
    have: no two agents share a file, and no id leaves the directory.
    """
    name = wire.check_name(agent_id, what="agent_id")
    if not _PLAIN_ID.fullmatch(name) or _RESERVED.fullmatch(name):
        readable = re.sub(r"[^a-z0-9_-]+", "-", name.lower())[:40].strip("-") or "agent"
        name = f"{readable}.{codec.text_hash(name).hex()[:12]}"
    return user_data_path("chrysalis-memory") / f"{name}.db"
