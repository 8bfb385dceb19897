"""Commands that bring memories out and in: export, import."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from chrysalis_memory.cli.changing import learn_each
from chrysalis_memory.cli.output import bar, counted, print_json
from chrysalis_memory.cli.program import Options, cli, memory_options
from chrysalis_memory.cli.session import embed_waiting, refusals_told, waiting, with_memory

if TYPE_CHECKING:
    from chrysalis_memory import AgentMemory

FORMATS = ("text", "jsonl", "export", "chatgpt", "claude", "mem0", "graph")


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
@click.argument("path", type=click.Path(exists=True, path_type=Path))
@click.option("--format", "form", type=click.Choice(["auto", *FORMATS]), default="auto",
              show_default=True, help="What PATH is; auto goes by what is in it.")  # fmt: skip
@click.option("--tag", "tags", multiple=True, metavar="TAG",
              help="A tag for everything; may be repeated.")  # fmt: skip
@click.option("--namespace", metavar="A/B", help="Where everything belongs.")
@click.option("--source", "teller", metavar="NAME",
              help="Where everything comes from. Default: as the file says, else import:FORMAT "
              "for text and for exports of other tools.")  # fmt: skip
@click.pass_obj
def import_(
    options: Options,
    path: Path,
    form: str,
    tags: tuple[str, ...],
    namespace: str | None,
    teller: str | None,
) -> None:
    """Bring in memories from a file or a folder.

    \b
    text     a text file, or a folder of .txt and .md files
    jsonl    one memory a line, as a JSON object of its fields
    export   what "chrysalis export" wrote; merged, with all its history
    chatgpt  an export of ChatGPT: its zip file or conversations.json
    claude   an export of Claude: its zip file or conversations.json
    mem0     the JSON that mem0's get_all returns
    graph    the JSON lines of the MCP server "memory"

    Importing the same again changes nothing. A file that is not what it should be is refused whole;
    what a memory may not hold is named on standard error, and the others are learned.
    """  # noqa: D301 - click reads the backspace
    from chrysalis_memory import importers

    with refusals_told():
        source = importers.read(path, form, namespace=namespace or "")
        if form == "auto":
            click.echo(f"{path} is read as {source.form}", err=True)
        found = list(source.memories)
    if source.form == "export":
        if tags or namespace is not None or teller is not None:
            raise click.UsageError("what is merged stays as it was exported; leave --tag, "
                                   "--namespace and --source out")  # fmt: skip
        _merge(options, path)
        return
    named = {} if teller is None else {"source": teller}
    learn_each(options, [(one.place, _tagged(one.fields, tags) | named) for one in found],
               format=source.form)  # fmt: skip


def _tagged(fields: dict[str, Any], tags: tuple[str, ...]) -> dict[str, Any]:
    known = fields.get("tags", [])
    # What is no list of tags is refused when it is learned.
    return (
        fields | {"tags": [*known, *tags]} if tags and isinstance(known, list | tuple) else fields
    )


def _merge(options: Options, path: Path) -> None:
    async def work(memory: AgentMemory) -> tuple[int, int]:
        with bar("merging") as progress:
            changed = await memory.import_(path, progress=progress)
        return changed, await embed_waiting(memory)

    changed, pending = with_memory(options, work, must_exist=False)
    if options.as_json:
        print_json({"format": "export", "changed": changed, "pending": pending})
    else:
        click.echo(f"{counted(changed)} changed{waiting(pending)}")
