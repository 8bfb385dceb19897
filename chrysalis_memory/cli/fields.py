"""Options that several commands share: what memories must match, and what is said of one."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from datetime import datetime
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])

MEMORY_TYPES = ("semantic", "episodic", "procedural", "working")


class Moment(click.ParamType):  # pyright: ignore[reportMissingTypeArgument] - since click 8.4
    """A moment, for example 2026-05-01 or 2026-05-01T09:30+02:00."""

    name = "moment"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime:
        """Read ISO text; without a zone it is local time."""
        try:
            return datetime.fromisoformat(value).astimezone()
        except (ValueError, OverflowError) as error:
            self.fail(f"{value!r} is no date such as 2026-05-01 or 2026-05-01T09:30: {error}",
                      param, ctx)  # fmt: skip


def _metadata(
    context: click.Context, parameter: click.Parameter, pairs: tuple[str, ...]
) -> dict[str, Any] | None:
    return dict(_pair(pair, context, parameter) for pair in pairs) if pairs else None


def _pair(pair: str, context: click.Context, parameter: click.Parameter) -> tuple[str, Any]:
    key, equals, text = pair.partition("=")
    try:
        return key, json.loads(text)
    except ValueError as error:
        reason = str(error) if equals else "no ="
        raise click.BadParameter(
            f"{pair!r} is not KEY=JSON ({reason}); texts need quotes: --metadata 'city=\"Gent\"'",
            context,
            parameter,
        ) from error


def trust_option(command: Command) -> Command:
    """Add ``--trust NAME=0..1``."""
    return click.option("--trust", multiple=True, metavar="NAME=0..1", callback=_trust,
                        help="How far a source is trusted; NAME* is any that begins so; may be "
                        "repeated.")(command)  # fmt: skip


def _trust(
    context: click.Context, parameter: click.Parameter, pairs: tuple[str, ...]
) -> dict[str, float] | None:
    factors: dict[str, float] = {}
    for pair in pairs:
        name, _, factor = pair.rpartition("=")
        try:
            factors[name] = float(factor)
        except ValueError:
            name = ""
        if not name:
            raise click.BadParameter(
                f"{pair!r} is not NAME=FACTOR, as in web:*=0.3", context, parameter
            )
    return factors or None


def metadata_option(text: str) -> Callable[[Command], Command]:
    """Return a decorator that adds ``--metadata KEY=JSON``."""
    return click.option("--metadata", multiple=True, metavar="KEY=JSON", callback=_metadata,
                        help=text)  # fmt: skip


_FILTERS = (
    click.option("--tag", "tags_all", multiple=True, metavar="TAG",
                 help="Only with this tag; may be repeated, all must be there."),
    click.option("--any-tag", "tags_any", multiple=True, metavar="TAG",
                 help="Only with one of these tags; may be repeated."),
    click.option("--no-tag", "tags_none", multiple=True, metavar="TAG",
                 help="Only without this tag; may be repeated."),
    click.option("--source", "sources", multiple=True, metavar="NAME",
                 help="Only from this source; NAME* is any that begins so; may be repeated."),
    click.option("--no-source", "sources_none", multiple=True, metavar="NAME",
                 help="Only from other sources; may be repeated."),
    click.option("--type", "memory_type", multiple=True, type=click.Choice(MEMORY_TYPES),
                 help="Only of this kind; may be repeated, any may match."),
    click.option("--namespace", metavar="A/B", help="Only from exactly this namespace."),
    click.option("--namespace-prefix", metavar="A/B",
                 help="Only from this namespace and those below it."),
    click.option("--episode", metavar="ID", help="Only of this conversation or log."),
    metadata_option("Only where it holds; the JSON is a value, or operators such as "
                    "'{\"$gte\": 3}'; may be repeated."),
    click.option("--min-importance", "minimum_importance", type=float, metavar="0..1",
                 help="Only of at least this importance."),
    click.option("--min-confidence", "minimum_confidence", type=float, metavar="0..1",
                 help="Only of at least this confidence."),
    click.option("--created-from", type=Moment(), metavar="DATE", help="Only learned since."),
    click.option("--created-before", type=Moment(), metavar="DATE", help="Only learned earlier."),
    click.option("--updated-from", type=Moment(), metavar="DATE", help="Only changed since."),
    click.option("--updated-before", type=Moment(), metavar="DATE", help="Only changed earlier."),
    click.option("--include-archived", is_flag=True, help="Also what is archived."),
    click.option("--include-expired", is_flag=True, help="Also what has expired."),
)  # fmt: skip


def filter_options(command: Command) -> Command:
    """Add an option for every condition that memories may have to meet."""
    for option in reversed(_FILTERS):
        command = option(command)
    return command


_DESCRIPTION = (
    click.option("--type", "memory_type", type=click.Choice(MEMORY_TYPES), help="What kind it is."),
    click.option("--importance", type=float, metavar="0..1", help="How much it matters."),
    click.option("--confidence", type=float, metavar="0..1", help="How sure it is."),
    click.option("--namespace", metavar="A/B", help="Where it belongs."),
    metadata_option("Free data, for example --metadata 'priority=3'; may be repeated."),
    click.option("--related", multiple=True, metavar="ID", help="Links to it; may be repeated."),
    click.option("--parent", "parents", multiple=True, metavar="ID",
                 help="What it comes from; may be repeated."),
    click.option("--evidence", multiple=True, metavar="TEXT",
                 help="What speaks for it; may be repeated."),
    click.option("--expires-at", type=Moment(), metavar="DATE",
                 help="When it is no longer found."),
)  # fmt: skip


def description_options(command: Command) -> Command:
    """Add an option for what can be said of a memory when it is learned or changed."""
    for option in reversed(_DESCRIPTION):
        command = option(command)
    return command


def given(options: dict[str, Any]) -> dict[str, Any]:
    """Return the options that were given."""
    return {
        name: value
        for name, value in options.items()
        if value is not None and value is not False and value != ()
    }


def standard_input() -> str:
    """Return what standard input holds, without the end of its last line."""
    try:
        return sys.stdin.read().removesuffix("\n")
    except UnicodeDecodeError as error:
        raise click.UsageError(f"standard input is not UTF-8: {error}") from error
