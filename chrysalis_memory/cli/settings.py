"""Which memory is meant and how it is opened: options over the environment over a file.

The commands read the file, and the library does not: a program that uses the library must not
change with a file that its author never saw.
"""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from chrysalis_memory.cli.program import Options

if TYPE_CHECKING:
    from chrysalis_memory import AgentMemoryConfig

AGENT = "default"


class Settings(NamedTuple):
    """What a command works with."""

    agent: str
    config: AgentMemoryConfig


class _File(NamedTuple):
    agent: str | None
    values: dict[str, Any]


def settings(options: Options, **arguments: Any) -> Settings:
    """Return what options, environment and file come to, in this order.

    Args:
        options: Of the command line.
        **arguments: Settings that the command decides; ``None`` leaves one to the others.

    Raises:
        InvalidValue: one of them is refused; the message says where it stands.
    """
    from pydantic_settings import InitSettingsSource, PydanticBaseSettingsSource

    from chrysalis_memory import AgentMemoryConfig

    file = _read(config_path())

    class Layered(AgentMemoryConfig):
        """Settings below which lie those of the file."""

        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: Any,
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,
            file_secret_settings: PydanticBaseSettingsSource,
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            """Put the file last."""
            return init_settings, env_settings, InitSettingsSource(settings_cls, file.values)

    given = {"path": options.db, "embedder": options.embedder} | arguments
    config = Layered.of(**{name: value for name, value in given.items() if value is not None})
    agent = options.agent if options.agent is not None else os.environ.get("CHRYSALIS_AGENT")
    return Settings(agent if agent is not None else file.agent or AGENT, config)


def config_path() -> Path | None:
    """Return the file of settings: the one that is named, or the user's if it is there.

    Raises:
        InvalidValue: the one that is named is not there.
    """
    from platformdirs import user_config_path

    from chrysalis_memory.errors import InvalidValue

    named = os.environ.get("CHRYSALIS_CONFIG")
    if named is None:
        path = user_config_path("chrysalis-memory") / "config.toml"
        return path if path.exists() else None
    if named == "":
        return None
    path = Path(named).expanduser()
    if not path.exists():
        raise InvalidValue(f"there is no {named!r}, which CHRYSALIS_CONFIG names")
    return path


def _read(path: Path | None) -> _File:
    from pydantic import ValidationError
    from pydantic_settings import PydanticBaseSettingsSource

    from chrysalis_memory import AgentMemoryConfig
    from chrysalis_memory.errors import InvalidValue
    from chrysalis_memory.query import refused

    if path is None:
        return _File(None, {})

    class OfFile(AgentMemoryConfig):
        """Settings of the file alone, so that what is wrong is known to stand there."""

        @classmethod
        def settings_customise_sources(
            cls, settings_cls: Any, init_settings: Any, *_: Any, **__: Any
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            """Leave the environment out."""
            return (init_settings,)

    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
        agent = values.pop("agent", None)
        if agent is not None and not isinstance(agent, str):
            raise InvalidValue(f"{path}: agent: a name is a string, got {agent!r}")
        checked = OfFile(**values)
    except ValidationError as error:
        raise refused(error, what=f"{path}: ") from error
    except ValueError as error:
        if isinstance(error, InvalidValue):
            raise
        raise InvalidValue(f"{path} is not TOML in UTF-8: {error}") from error
    if isinstance(checked.path, Path) and str(checked.path) != ":memory:":
        # Whoever writes a relative path into a file means one beside it.
        values["path"] = path.parent / checked.path.expanduser()
    return _File(agent, values)
