"""Commands on one memory: learn, recall, look, move."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from chrysalis_memory.cli.output import bar, console, counted, print_json
from chrysalis_memory.cli.program import Options, cli, memory_options
from chrysalis_memory.cli.session import embed_waiting, finish, waiting, with_memory

if TYPE_CHECKING:
    from chrysalis_memory import AgentMemory

MEMORY_TYPES = ("semantic", "episodic", "procedural", "working")
MODES = ("hybrid", "semantic", "keyword")


@cli.command()
@click.pass_obj
def demo(options: Options) -> None:
    """Show everything at work: learn, recall, explain, merge.

    A conversation that ships with the package is learned in a temporary folder; offline.
    """
    if options.given:
        raise click.UsageError("demo uses memories of its own and takes no options")
    from chrysalis_memory.demo import run

    finish(run(console()))


@cli.command()
@memory_options
@click.argument("content", required=False)
@click.option("--lines", is_flag=True, help="Read standard input, one memory a line.")
@click.option("--tag", "tags", multiple=True, metavar="TAG", help="A tag; may be repeated.")
@click.option("--type", "memory_type", type=click.Choice(MEMORY_TYPES), help="What kind it is.")
@click.option("--importance", type=float, metavar="0..1", help="How much it matters.")
@click.option("--confidence", type=float, metavar="0..1", help="How sure it is.")
@click.option("--namespace", metavar="A/B", help="Where it belongs.")
@click.option("--id", "memory_id", metavar="ID", help="Identity. Default: made from the text.")
@click.option("--metadata", "pairs", multiple=True, metavar="KEY=JSON",
              help="Free data, for example --metadata 'priority=3'; may be repeated.")  # fmt: skip
@click.pass_obj
def learn(
    options: Options,
    content: str | None,
    lines: bool,
    memory_id: str | None,
    pairs: tuple[str, ...],
    **fields: Any,
) -> None:
    """Store a memory and print its id.

    CONTENT is the text; "-" reads it from standard input. The same text learned twice is one
    memory that gains tags and importance.
    """
    given = {name: value for name, value in fields.items() if value is not None}
    if pairs:
        given["metadata"] = dict(_metadata(pair) for pair in pairs)
    if lines:
        if content not in (None, "-") or memory_id is not None:
            raise click.UsageError("--lines reads standard input and takes no CONTENT and no --id")
        texts = [line for line in _standard_input().split("\n") if line.strip()]
    elif content is None:
        raise click.UsageError("give a text, - for standard input, or --lines")
    else:
        texts = [_standard_input() if content == "-" else content]
    if memory_id is not None:
        given["id"] = memory_id

    async def work(memory: AgentMemory) -> list[str]:
        with bar("learning", shown=lines) as progress:
            return await memory.learn_many(
                [{"content": text} | given for text in texts], progress=progress
            )

    ids = with_memory(options, work, must_exist=False)
    if options.as_json:
        for learned in ids:
            print_json({"id": learned})
    else:
        click.echo(f"learned {counted(len(ids))}" if lines else ids[0])


@cli.command()
@memory_options
@click.argument("query")
@click.option("-k", default=5, show_default=True, help="How many.")
@click.option("--tag", "tags_all", multiple=True, metavar="TAG",
              help="Only with this tag; may be repeated, all must be there.")  # fmt: skip
@click.option("--type", "memory_type", type=click.Choice(MEMORY_TYPES), help="Only of this kind.")
@click.option("--namespace", metavar="A/B", help="Only from exactly this namespace.")
@click.option("--mode", type=click.Choice(MODES), default="hybrid", show_default=True,
              help="By meaning and words, by meaning only, by words only.")  # fmt: skip
@click.option("--min-score", type=float, help="Leave out what scores lower.")
@click.option("--explain", is_flag=True, help="Show what each score is made of.")
@click.option("--no-track", is_flag=True, help="Do not count this as a use of what is found.")
@click.pass_obj
def recall(options: Options, query: str, explain: bool, no_track: bool, **wanted: Any) -> None:
    """Find memories by meaning and by words."""
    wanted = {name: value for name, value in wanted.items() if value not in (None, ())}
    found = with_memory(options, lambda memory: memory.recall(query, track=not no_track, **wanted))
    if options.as_json:
        from chrysalis_memory.record import RecalledRecord

        for memory in found:
            click.echo(RecalledRecord.recalled(memory, memory.explanation).model_dump_json())
    elif not found:
        click.echo("nothing found", err=True)
    else:
        from chrysalis_memory.tables import formula, recollection_table

        output = console()
        output.print(recollection_table(found, explain=explain))
        if explain:
            output.print(formula(found), style="dim", markup=False)


@cli.command()
@memory_options
@click.pass_obj
def stats(options: Options) -> None:
    """Show what the memory holds."""

    async def work(memory: AgentMemory) -> dict[str, Any]:
        held = await memory.statistics(measure_index=True)
        space = held.space
        return {
            "agent": memory.agent_id,
            "path": str(memory.storage.path),
            "replica": held.replica,
            "memories": held.memories,
            "embedder": None if space is None else space.fingerprint,
            "dimension": None if space is None else space.dimension,
            "pending": held.pending,
            "index_recall_at_10": held.index_recall,
            "size_bytes": held.size_bytes,
            "tags": dict(held.tags),
        }

    held = with_memory(options, work)
    if options.as_json:
        print_json(held)
        return
    from rich.table import Table

    from chrysalis_memory.tables import printable

    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    tags = ", ".join(f"{tag} {number}" for tag, number in held.pop("tags").items())
    for name, value in {**held, "tags": tags}.items():
        shown = f"{value:,}" if isinstance(value, int) else str(value or "–")
        table.add_row(name.replace("_", " "), printable(shown))
    console().print(table)


@cli.command()
@memory_options
@click.argument("path", type=click.Path(dir_okay=False, path_type=Path))
@click.pass_obj
def export(options: Options, path: Path) -> None:
    """Write every memory to PATH.

    One memory a line, as JSON, with all that merging needs.
    """
    written = with_memory(options, lambda memory: memory.export(path))
    if options.as_json:
        print_json({"exported": written, "path": str(path)})
    else:
        click.echo(f"exported {counted(written)} to {path}")


@cli.command("import")
@memory_options
@click.argument("path", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.pass_obj
def import_(options: Options, path: Path) -> None:
    """Merge the memories exported to PATH.

    Importing the same file again changes nothing.
    """

    async def work(memory: AgentMemory) -> tuple[int, int]:
        with bar("merging") as progress:
            changed = await memory.import_(path, progress=progress)
        return changed, await embed_waiting(memory)

    changed, pending = with_memory(options, work, must_exist=False)
    if options.as_json:
        print_json({"changed": changed, "pending": pending})
    else:
        click.echo(f"{counted(changed)} changed{waiting(pending)}")


@cli.command()
@memory_options
@click.pass_obj
def reindex(options: Options) -> None:
    """Rebuild indexes and embed what waits.

    With --embedder every memory is embedded by that one, if another made the file's vectors.
    """
    # Only an embedder named here and now may replace the file's: a default must not.
    change = "refuse" if options.embedder is None else "reindex"
    embedded = 0
    with bar("embedding") as show:

        def count(done: int, total: int) -> None:
            nonlocal embedded
            embedded = done
            show(done, total)

        async def work(memory: AgentMemory) -> str:
            nonlocal embedded
            embedded += await memory.reindex(progress=show)
            space = (await memory.statistics()).space
            return "no embedder" if space is None else space.fingerprint

        fingerprint = with_memory(options, work, progress=count, on_embedder_change=change)
    if options.as_json:
        print_json({"embedded": embedded, "embedder": fingerprint})
    else:
        click.echo(f"indexes rebuilt, {counted(embedded)} embedded by {fingerprint}")


def _standard_input() -> str:
    try:
        return sys.stdin.read().removesuffix("\n")
    except UnicodeDecodeError as error:
        raise click.UsageError(f"standard input is not UTF-8: {error}") from error


def _metadata(pair: str) -> tuple[str, Any]:
    key, equals, text = pair.partition("=")
    try:
        return key, json.loads(text)
    except ValueError as error:
        reason = str(error) if equals else "no ="
        raise click.BadParameter(
            f"{pair!r} is not KEY=JSON ({reason}); texts need quotes: --metadata 'city=\"Gent\"'",
            param_hint="--metadata",
        ) from error
