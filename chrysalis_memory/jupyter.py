"""Memories as tables in a notebook: ``%load_ext chrysalis_memory.jupyter``.

After that, a memory, a recollection, an explanation, the statistics of a store, and a list of
memories show themselves as small HTML tables. Text is escaped, colours follow the theme.
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from html import escape
from typing import Any

from chrysalis_memory import Explanation, MemoryDocument, Recollection
from chrysalis_memory.provenance import sources_of, writers_of
from chrysalis_memory.storage import StoreStatistics

_ROWS_MAX = 50
_CONTENT_CHARACTERS = 400

# Half-transparent greys and blues keep their contrast on white and on black; styles stand on each
# element, because notebooks drop style sheets from outputs that are not trusted.
_CELL = "text-align:left;vertical-align:top;padding:.2em .7em;"
_NUMBER = "text-align:right;vertical-align:top;padding:.2em .7em;font-variant-numeric:tabular-nums;"
_HEAD = "text-align:left;padding:.2em .7em;border-bottom:1px solid rgba(128,128,128,.6);"
_TAG = "border:1px solid rgba(128,128,128,.6);border-radius:.6em;padding:0 .4em;margin-right:.2em;"
_TRACK = "display:inline-block;width:5em;height:.6em;background:rgba(128,128,128,.25);"
_BAR = "display:block;height:100%;background:rgba(70,130,200,.85);"

Formatter = Callable[[Any], str | None]


def load_ipython_extension(ipython: Any) -> None:
    """Register the tables with a running IPython; called by ``%load_ext``."""
    formatter = _html_formatter(ipython)
    for kind, show in FORMATTERS.items():
        formatter.for_type(kind, show)


def unload_ipython_extension(ipython: Any) -> None:
    """Take the tables back; called by ``%unload_ext``."""
    formatter = _html_formatter(ipython)
    for kind, show in FORMATTERS.items():
        # Somebody may have registered another formatter since; it stays.
        if formatter.type_printers.get(kind) is show:
            formatter.pop(kind)


def memory_html(memory: MemoryDocument) -> str:
    """Return one memory as a table of its fields; those that say nothing are left out."""
    if memory.is_forgotten:
        return _table(
            [[("id", _HEAD), (escape(memory.id), _CELL)], [("", _HEAD), ("forgotten", _CELL)]]
        )
    fields: list[tuple[str, str]] = [
        ("memory", _content(memory)),
        ("id", f"<code>{escape(memory.id)}</code>"),
        ("type", escape(memory.memory_type)),
        ("namespace", _text(memory.namespace)),
        ("tags", _tags(memory)),
        ("importance", _bar(memory.get_importance(), 1.0)),
        ("confidence", _bar(memory.get_confidence(), 1.0)),
        (
            "metadata",
            ", ".join(f"{_text(k)}: {_text(repr(v))}" for k, v in memory.metadata.items()),
        ),
        ("episode", _episode(memory)),
        ("related", _names(memory.get_related())),
        ("parents", _names(memory.get_parents())),
        ("evidence", _names(memory.get_evidence())),
        ("used", str(memory.get_access_count() or "")),
        ("updated", _moment(memory.updated_at)),
        ("expires", _moment(memory.expires_at)),
        ("archived", "yes" if memory.archived else ""),
        ("source", _names(sources_of(memory))),
        ("written by", _names(writers_of(memory))),
    ]
    return _fields((name, shown) for name, shown in fields if shown)


def recollection_html(memory: Recollection) -> str:
    """Return a recalled memory: its fields, and why it got its score."""
    return memory_html(memory) + explanation_html(memory.explanation)


def explanation_html(explanation: Explanation) -> str:
    """Return the parts of a score, in the order in which they are put together."""
    weight = explanation.weights.keyword
    similarity, around, late = explanation.similarity, explanation.around, explanation.late
    cosine = "no vector" if similarity is None else f"cosine {similarity:.3f}"
    beside = "" if around is None else f"; with neighbours {around:.3f}"
    nothing = similarity is None and around is None
    rows = [
        ("meaning", "no vector" if nothing else f"{explanation.meaning:.3f}", f"{cosine}{beside}"),
        ("words", f"{explanation.keyword:.3f}", f"× {weight:g}; BM25 {explanation.bm25:.2f}"),
    ]
    is_weighed = explanation.trust != 1
    trust = [("trust", f"{explanation.trust:.3f}", explanation.source)] if is_weighed else []
    product = "relevance × factor × trust" if is_weighed else "relevance × factor"
    if late is not None:
        rows.append(("late", f"{late:.3f}", f"× {explanation.weights.late:g}"))
    rows += [
        ("relevance", f"{explanation.relevance:.3f}", "the sum of these"),
        ("importance", f"{explanation.importance_effect:+.3f}", f"{explanation.importance:.2f}"),
        ("confidence", f"{explanation.confidence_effect:+.3f}", f"{explanation.confidence:.2f}"),
        ("use", f"{explanation.access_effect:+.3f}", f"{explanation.access_count} times"),
        ("age", f"{explanation.recency_effect:+.3f}", f"{explanation.age_days:.1f} days"),
        ("factor", f"{explanation.factor:.3f}", "1 + importance + confidence + use + age"),
        *trust,
        ("score", f"<b>{explanation.score:.3f}</b>", product),
    ]
    return _table([[(a, _HEAD), (b, _NUMBER), (escape(c), _CELL)] for a, b, c in rows])


def memories_html(memories: Sequence[MemoryDocument]) -> str:
    """Return memories as a table, one a row; recalled ones with their scores."""
    scores = [m.score for m in memories if isinstance(m, Recollection)]
    best = max(scores, default=0.0)
    names = ["memory", "type", "tags", "importance"]
    if scores:
        names = ["score", "meaning", "words", "effects", *names]
    rows = [[(name, _HEAD) for name in names]]
    for memory in memories[:_ROWS_MAX]:
        cells = _score_cells(memory, best) if scores else []
        rows.append(cells + _memory_cells(memory))
    more = len(memories) - _ROWS_MAX
    return _table(rows) + (f"<p>and {more:,} more</p>" if more > 0 else "")


def list_html(values: list[Any]) -> str | None:
    """Return a list of memories as a table, and ``None`` for every other list."""
    if not values or not all(isinstance(value, MemoryDocument) for value in values):
        return None
    return memories_html(values)


def statistics_html(statistics: StoreStatistics) -> str:
    """Return what a store holds as a table."""
    space = statistics.space
    tags = "".join(_tag(f"{name} {number:,}") for name, number in statistics.tags[:_ROWS_MAX])
    fields = [
        ("memories", f"{statistics.memories:,}"),
        ("tags", tags),
        ("embedder", "none yet" if space is None else _text(space.fingerprint)),
        ("without a vector", f"{statistics.pending:,}"),
        ("size", f"{statistics.size_bytes / 1e6:,.1f} MB"),
        ("replica", f"<code>{escape(statistics.replica)}</code>"),
    ]
    return _fields(fields)


FORMATTERS: dict[type, Formatter] = {
    MemoryDocument: memory_html,
    Recollection: recollection_html,
    Explanation: explanation_html,
    StoreStatistics: statistics_html,
    list: list_html,
}


def _html_formatter(ipython: Any) -> Any:
    return ipython.display_formatter.formatters["text/html"]


def _score_cells(memory: MemoryDocument, best: float) -> list[tuple[str, str]]:
    if not isinstance(memory, Recollection):
        return [("", _CELL)] * 4
    parts = memory.explanation
    nothing = parts.similarity is None and parts.around is None
    similarity = "–" if nothing else f"{parts.meaning:.3f}"
    effects = (
        f"importance {parts.importance_effect:+.3f}, confidence {parts.confidence_effect:+.3f}, "
        f"use {parts.access_effect:+.3f}, age {parts.recency_effect:+.3f}"
    )
    factor = f'<span title="{effects}">× {parts.factor:.3f}</span>'
    return [
        (_bar(memory.score, best), _CELL),
        (similarity, _NUMBER),
        (f"{parts.keyword:.3f}", _NUMBER),
        (factor, _NUMBER),
    ]


def _memory_cells(memory: MemoryDocument) -> list[tuple[str, str]]:
    if memory.is_forgotten:
        return [(f"<i>forgotten</i> <code>{escape(memory.id)}</code>", _CELL), *[("", _CELL)] * 3]
    return [
        (_content(memory), _CELL),
        (escape(memory.memory_type), _CELL),
        (_tags(memory), _CELL),
        (_bar(memory.get_importance(), 1.0), _CELL),
    ]


def _content(memory: MemoryDocument) -> str:
    text = memory.content
    cut = text[: _CONTENT_CHARACTERS - 1] + "…" if len(text) > _CONTENT_CHARACTERS else text
    return _text(cut)


def _text(text: str) -> str:
    # bdi keeps characters that reverse the direction of writing inside their own cell.
    return f"<bdi>{escape(text)}</bdi>" if text else ""


def _tags(memory: MemoryDocument) -> str:
    return "".join(_tag(tag) for tag in memory.get_tags())


def _tag(text: str) -> str:
    return f'<span style="{_TAG}">{_text(text)}</span>'


def _names(names: Sequence[str]) -> str:
    return "<br>".join(_text(name) for name in names)


def _episode(memory: MemoryDocument) -> str:
    if memory.episode is None:
        return ""
    return _text(memory.episode) + ("" if memory.position is None else f" · {memory.position}")


def _moment(moment: datetime | None) -> str:
    return "" if moment is None else f"{moment:%Y-%m-%d %H:%M} UTC"


def _bar(value: float, full: float) -> str:
    percent = 100 * min(1.0, max(0.0, value / full)) if full > 0 else 0.0
    bar = f'<span style="{_BAR}width:{percent:.0f}%"></span>'
    return f'{value:.3f} <span style="{_TRACK}">{bar}</span>'


def _fields(fields: Iterable[tuple[str, str]]) -> str:
    return _table([[(escape(name), _HEAD), (shown, _CELL)] for name, shown in fields])


def _table(rows: Iterable[Sequence[tuple[str, str]]]) -> str:
    body = "".join(
        "<tr>" + "".join(f'<td style="{style}">{shown}</td>' for shown, style in row) + "</tr>"
        for row in rows
    )
    return f'<table style="border-collapse:collapse">{body}</table>'
