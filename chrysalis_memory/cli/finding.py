"""Commands that read: recall, show, list, tags, sources, related."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import click

from chrysalis_memory.cli.fields import filter_options, given, trust_option
from chrysalis_memory.cli.output import (
    console,
    print_fields,
    print_json,
    print_records,
    print_table,
)
from chrysalis_memory.cli.program import Options, cli, memory_options
from chrysalis_memory.cli.session import unknown, with_memory

if TYPE_CHECKING:
    from chrysalis_memory import AgentMemory, MemoryDocument

MODES = ("hybrid", "semantic", "keyword")
ACCURACIES = ("fast", "balanced", "exact")
ORDERS = ("created", "recent", "importance")
LIMIT = 50


@cli.command()
@memory_options
@click.argument("query")
@click.option("-k", default=5, show_default=True, help="How many.")
@click.option("--mode", type=click.Choice(MODES), default="hybrid", show_default=True,
              help="By meaning and words, by meaning only, by words only.")  # fmt: skip
@click.option("--min-score", type=float, help="Leave out what scores lower.")
@click.option("--context", type=int, metavar="N",
              help="With N memories on either side in its episode.")  # fmt: skip
@click.option("--diversity", type=float, metavar="0..1",
              help="Prefer memories unlike each other.")  # fmt: skip
@click.option("--accuracy", type=click.Choice(ACCURACIES),
              help="How many of the nearest are found in a large memory.")  # fmt: skip
@click.option("--rerank", type=click.Choice(["late"]),
              help="Compare token by token; needs CHRYSALIS_LATE_INTERACTION=true.")  # fmt: skip
@trust_option
@click.option("--explain", is_flag=True, help="Show what each score is made of.")
@click.option("--no-track", is_flag=True, help="Do not count this as a use of what is found.")
@filter_options
@click.pass_obj
def recall(options: Options, query: str, explain: bool, no_track: bool, **wanted: Any) -> None:
    """Find memories by meaning and by words."""
    wanted = given(wanted)
    found = with_memory(options, lambda memory: memory.recall(query, track=not no_track, **wanted))
    if options.as_json:
        from chrysalis_memory.record import MemoryRecord, RecalledRecord

        for memory in found:
            record = RecalledRecord.recalled(memory, memory.explanation).model_dump(mode="json")
            if "context" in wanted:
                beside = [MemoryRecord.of(one).model_dump(mode="json") for one in memory.context]
                record["context"] = beside
            print_json(record)
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
@click.argument("memory_id", metavar="ID")
@click.option("--history", is_flag=True, help="Show who wrote what that still counts, and when.")
@click.pass_obj
def show(options: Options, memory_id: str, history: bool) -> None:
    """Show one memory with all its fields."""

    async def work(memory: AgentMemory) -> MemoryDocument:
        found = await memory.get(memory_id)
        if found is None:
            raise unknown(memory_id)
        return found

    found = with_memory(options, work)
    from chrysalis_memory.history import history as writes
    from chrysalis_memory.record import MemoryRecord

    told = [write._asdict() | {"at": write.at.isoformat()} for write in writes(found)]
    record = MemoryRecord.of(found).model_dump(mode="json")
    if options.as_json:
        print_json(record | ({"history": told} if history else {}))
        return
    print_fields({name: _shown(value) for name, value in record.items()})
    if history:
        print_table([{**write, "value": _shown(write["value"])} for write in told])


def _shown(value: Any) -> Any:
    if isinstance(value, dict):
        import json

        return json.dumps(value, ensure_ascii=False) if value else None
    return ", ".join(map(str, cast("list[Any]", value))) if isinstance(value, list) else value


@cli.command("list")
@memory_options
@click.option("--order", type=click.Choice(ORDERS), default="recent", show_default=True,
              help="Oldest first, newest first, most important first.")  # fmt: skip
@click.option("--limit", type=int, default=LIMIT, show_default=True, help="At most so many.")
@click.option("--all", "everything", is_flag=True, help="All that match, whatever --limit says.")
@click.option("--offset", type=int, default=0, show_default=True,
              help="How many to pass over before the first.")  # fmt: skip
@filter_options
@click.pass_obj
def list_(
    options: Options, order: Any, limit: int, everything: bool, offset: int, **wanted: Any
) -> None:
    """List memories without searching; newest first."""
    wanted = given(wanted)

    async def work(memory: AgentMemory) -> tuple[list[MemoryDocument], int]:
        most = None if everything else limit
        found = await memory.find(order=order, limit=most, offset=offset, **wanted)
        return found, await memory.count(**wanted)

    found, count = with_memory(options, work)
    if options.as_json:
        print_records(found)
    elif found:
        from chrysalis_memory.tables import memory_table

        console().print(memory_table(found))
    if not found:
        click.echo("nothing found", err=True)
    elif len(found) < count:
        click.echo(
            f"{len(found):,} of {count:,}; --limit, --offset and --all show others", err=True
        )


@cli.command()
@memory_options
@filter_options
@click.pass_obj
def tags(options: Options, **wanted: Any) -> None:
    """List the tags and how many memories carry each, commonest first."""
    found = with_memory(options, lambda memory: memory.tags(**given(wanted)))
    rows = [{"tag": tag, "memories": number} for tag, number in found]
    if options.as_json:
        for row in rows:
            print_json(row)
    elif not rows:
        click.echo("no tags", err=True)
    else:
        print_table(rows)


@cli.command()
@memory_options
@filter_options
@click.pass_obj
def sources(options: Options, **wanted: Any) -> None:
    """List where memories come from and how many from each, commonest first."""
    found = with_memory(options, lambda memory: memory.sources(**given(wanted)))
    rows = [{"source": source, "memories": number} for source, number in found]
    if options.as_json:
        for row in rows:
            print_json(row)
    elif not rows:
        click.echo("no memories", err=True)
    else:
        print_table(rows)


@cli.command()
@memory_options
@click.argument("memory_id", metavar="ID")
@click.option("-k", default=5, show_default=True, help="How many that are only alike.")
@filter_options
@click.pass_obj
def related(options: Options, memory_id: str, k: int, **wanted: Any) -> None:
    """Show what a memory links to, and what is most like it.

    Conditions are for those that are only alike; links are shown whatever they are.
    """
    found = with_memory(options, lambda memory: memory.related(memory_id, k, **given(wanted)))
    if options.as_json:
        from chrysalis_memory.record import MemoryRecord

        for one in found:
            record = MemoryRecord.of(one.memory).model_dump(mode="json")
            print_json(record | {"link": one.link, "similarity": one.similarity})
    elif not found:
        click.echo("nothing found", err=True)
    else:
        print_table(
            [
                {
                    "link": one.link or "alike",
                    "similarity": one.similarity,
                    "id": one.memory.id,
                    "memory": one.memory.content,
                }
                for one in found
            ]
        )
