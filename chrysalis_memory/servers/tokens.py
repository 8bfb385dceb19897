"""Who may ask a server for what: tokens, each of which may be restricted to a namespace.

Entries of a file in TOML::

    [[tokens]]
    name = "alice"
    token = "..."
    namespace = "user/alice"    # left out: everything, and the sync
    read_only = true            # left out: writes, too
"""

import hmac
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, StrictBool, ValidationError
from starlette.types import Scope

from chrysalis_memory.agent import AgentMemory
from chrysalis_memory.codec import digest
from chrysalis_memory.errors import InvalidValue
from chrysalis_memory.query import Name, Namespace, refused
from chrysalis_memory.replication.routes import check_token
from chrysalis_memory.servers.secret_file import read_tables

HOLDER = "chrysalis.holder"
"""Where a request's scope says who sent it; absent where no token is asked for."""


class Holder(BaseModel):
    """Who holds a token, and what it lets them do."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Name
    token: SecretStr
    namespace: Annotated[Namespace, Field(min_length=1)] | None = None
    """What they are restricted to, with all below it; ``None`` for everything."""
    read_only: StrictBool = False

    @property
    def is_confined(self) -> bool:
        """Whether they may not work with the store as a whole."""
        return self.namespace is not None

    def view_of(self, memory: AgentMemory) -> AgentMemory:
        """Return what they see of a memory."""
        if self.namespace is None and not self.read_only:
            return memory
        return memory.within(self.namespace or "", read_only=self.read_only)


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")

    tokens: Annotated[tuple[Holder, ...], Field(min_length=1)]


class Tokens:
    """All tokens of a server.

    Args:
        holders: Their holders.

    Raises:
        InvalidValue: a token that no header can carry, or a name or a token that stands twice.
    """

    def __init__(self, holders: Sequence[Holder]) -> None:
        self.holders = tuple(holders)
        names = [one.name for one in holders]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise InvalidValue(f"the name {twice[0]!r} stands twice among the tokens")
        self._known = [(_digest(one), one) for one in holders]
        if len({known for known, _ in self._known}) < len(self._known):
            raise InvalidValue("a token stands twice; give each holder one of their own")

    @classmethod
    def of(cls, token: str | None, more: "Tokens | None" = None) -> Self | None:
        """Return a single token that lets in to everything, and more; ``None`` for none at all.

        Raises:
            InvalidValue: as the class does.
        """
        holders = () if more is None else more.holders
        if token is not None:
            holders = (*holders, Holder(name="--token", token=SecretStr(token)))
        return cls(holders) if holders else None

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a file that nobody else can read.

        Raises:
            InvalidValue: there is none, others may read it, or what it says is refused.
        """
        values = read_tables(path, what="tokens")
        try:
            return cls(_File.model_validate(values).tokens)
        except ValidationError as error:
            raise refused(error, what=f"{path}: ") from None

    def holder(self, given: bytes) -> Holder | None:
        """Return whose token this is; all are compared, so that time tells nothing."""
        asked = digest(given)
        found: Holder | None = None
        for known, holder in self._known:
            if hmac.compare_digest(asked, known):
                found = holder
        return found


def holder_of(scope: Scope) -> Holder | None:
    """Return who sent a request; ``None`` where no token was asked for."""
    return scope.get(HOLDER)


def _digest(holder: Holder) -> bytes:
    return digest(check_token(holder.token.get_secret_value()).encode())
