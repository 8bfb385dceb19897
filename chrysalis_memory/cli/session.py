"""How commands reach a memory, and what becomes of its errors."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Awaitable, Callable, Coroutine, Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from chrysalis_memory.cli.output import bar, one_line
from chrysalis_memory.cli.program import Options

if TYPE_CHECKING:
    from chrysalis_memory import AgentMemory, MemoryStorage
    from chrysalis_memory.embedding_queue import Progress
    from chrysalis_memory.servers.tokens import Tokens

T = TypeVar("T")


def with_memory(
    options: Options,
    work: Callable[[AgentMemory], Awaitable[T]],
    *,
    path: str | None = None,
    progress: Progress | None = None,
    must_exist: bool = True,
    **settings: Any,
) -> T:
    """Open the memory that is meant, work on it, and close it."""

    async def session() -> T:
        given = settings if path is None else settings | {"path": path}
        memory = memory_of(options, must_exist=must_exist, **given)
        await memory.start(progress=progress)
        try:
            return await work(memory)
        finally:
            await memory.stop()

    return finish(session())


def memory_of(options: Options, *, must_exist: bool = False, **settings: Any) -> AgentMemory:
    """Return the memory that is meant, not started yet.

    Raises:
        InvalidValue: an option or a setting that is refused.
    """
    from chrysalis_memory import AgentMemory
    from chrysalis_memory.cli.settings import settings as settled

    agent, config = settled(options, **settings)
    return AgentMemory(agent, config=config, must_exist=must_exist)


def token_of(options: Options) -> str | None:
    """Return the token that the environment or the file of settings holds."""
    from chrysalis_memory.cli.settings import settings

    with refusals_told():
        token = settings(options).config.token
    return None if token is None else token.get_secret_value()


tokens_option = click.option(
    "--tokens", metavar="FILE", type=click.Path(path_type=Path),
    help="Tokens with names, each perhaps restricted to a namespace, as TOML; see the docs. Nobody "
    "else may read the file.",
)  # fmt: skip


def read_tokens(path: Path | None) -> Tokens | None:
    """Return the tokens of a file that was named."""
    if path is None:
        return None
    from chrysalis_memory.servers.tokens import Tokens

    return Tokens.read(path)


def with_store(path: str, work: Callable[[MemoryStorage], T], *, must_exist: bool = True) -> T:
    """Open a store without its embedder, work on it, and close it."""
    from chrysalis_memory import MemoryStorage
    from chrysalis_memory.cli.settings import settings
    from chrysalis_memory.database_url import DatabaseURL, named, require_file

    with refusals_told():
        is_file = not isinstance(named(path), DatabaseURL)
        if must_exist:
            require_file(path)
        key = settings(Options()).config.key if is_file else None
        with MemoryStorage(path, key=key) as storage:
            return work(storage)


def finish(work: Coroutine[Any, Any, T]) -> T:
    """Run until it ends."""
    import asyncio

    with refusals_told():
        return asyncio.run(work)


@contextlib.contextmanager
def refusals_told() -> Generator[None]:
    """Make one line and an exit code of what the memory or a file refuses."""
    from chrysalis_memory import ChrysalisError
    from chrysalis_memory.errors import MemoryForgotten, MemoryNotFound

    try:
        yield
    except MemoryNotFound as error:
        raise unknown(error.memory_id) from error
    except MemoryForgotten as error:
        raise click.ClickException(
            f"memory {error.memory_id!r} was forgotten; to bring it back on purpose learn a text "
            f"with --id {error.memory_id}"
        ) from error
    except BrokenPipeError:
        raise  # nobody is there to read what is wrong
    except (ChrysalisError, OSError) as error:
        raise click.ClickException(one_line(error)) from error


def unknown(memory_id: str) -> click.ClickException:
    """Return the error that says an id is unknown."""
    return click.ClickException(
        f"no memory has the id {memory_id!r}; 'chrysalis list' shows what there is"
    )


async def until_stopped(work: Coroutine[Any, Any, Any]) -> None:
    """Run until it ends, or until Ctrl-C or a polite kill says so; that is no failure."""
    import asyncio

    task = asyncio.create_task(work)
    with contextlib.suppress(NotImplementedError):  # Windows, where Ctrl-C cancels all the same
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def embed_waiting(memory: AgentMemory) -> int:
    """Embed what has come from elsewhere, if that is possible now; return how many still wait."""
    from embedders import EmbedderUnavailable

    try:
        with bar("embedding") as progress:
            await memory.embed_pending(progress=progress)
    except EmbedderUnavailable as error:
        click.echo(f"Warning: {one_line(error)}", err=True)
    return (await memory.statistics()).pending


def waiting(pending: int) -> str:
    """Return what to say of memories that still wait for a vector."""
    return f"; {pending:,} wait for a vector and are found by their words" if pending else ""
