"""Memories as tables for a terminal."""

from collections.abc import Sequence

from rich import box
from rich.table import Table
from rich.text import Text

from chrysalis_memory import Explanation, MemoryDocument, Recollection

_CONTENT_CHARACTERS = 300
_JOINERS = "\u200c\u200d\ufe0e\ufe0f"
"""Invisible characters that words and emoji are made with, and that move nothing."""


def printable(text: str, limit: int = _CONTENT_CHARACTERS) -> Text:
    """Return ``text`` in one line that cannot steer the terminal.

    A memory may hold anything, also escape sequences that would repaint the screen and characters
    that reverse the direction of writing; they appear as ``�``.

    Args:
        text: Any text.
        limit: After how many characters it is cut, with an ellipsis.
    """
    line = " ".join(text[: 2 * limit].split())
    shown = "".join(c if c.isprintable() or c in _JOINERS else "�" for c in line)
    cut = len(shown) > limit or len(text) > 2 * limit
    return Text(shown[: limit - 1] + "…" if cut else shown)


def printable_lines(text: str) -> Text:
    """Return all of ``text``, in its own lines, as :func:`printable` makes them."""
    return Text("\n").join(printable(line, len(line) + 1) for line in text.splitlines())


def recollection_table(
    memories: Sequence[Recollection], *, title: str | None = None, explain: bool = False
) -> Table:
    """Return recalled memories as a table, best first.

    Args:
        memories: What was recalled.
        title: What stands above the table.
        explain: Whether to show the parts that each score is made of.
    """
    is_weighed = _is_weighed(memories)
    heading = None if title is None else printable(title)
    table = Table(box=box.SIMPLE_HEAD, title=heading, title_justify="left", title_style="bold",
                  padding=(0, 1, 0, 0))  # fmt: skip
    table.add_column("score", justify="right", style="bold cyan", no_wrap=True)
    if explain:
        names = ("meaning", "words", "import.", "confid.", "use", "age")
        for name in (*names, "trust") if is_weighed else names:
            table.add_column(name, justify="right", no_wrap=True)
    table.add_column("memory", ratio=1, overflow="fold")
    if not explain:
        table.add_column("tags", style="green", max_width=24, overflow="fold")
    for memory in memories:
        if explain:
            cells = explanation_cells(memory)
            if is_weighed:
                cells.append(f"{memory.explanation.trust:.3f}")
            table.add_row(*cells, _with_context(memory))
        else:
            tags = printable(", ".join(memory.get_tags()))
            table.add_row(f"{memory.score:.3f}", _with_context(memory), tags)
    return table


def _with_context(memory: Recollection) -> Text:
    """Return the memory between those that stand around it in its episode, if they were wanted."""
    own = (memory.position or 0, memory.id)
    around = [(one, (one.position or 0, one.id) < own) for one in memory.context]
    return Text("\n").join(
        [
            *(Text(str(printable(one.content)), style="dim") for one, before in around if before),
            printable(memory.content),
            *(
                Text(str(printable(one.content)), style="dim")
                for one, before in around
                if not before
            ),
        ]
    )


def memory_table(memories: Sequence[MemoryDocument]) -> Table:
    """Return memories as a table with the ids by which they are named."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("id", style="cyan", overflow="fold", min_width=12)
    table.add_column("memory", ratio=1, overflow="fold")
    table.add_column("tags", style="green", max_width=24, overflow="fold")
    for memory in memories:
        tags = printable(", ".join(memory.get_tags()))
        table.add_row(printable(memory.id), printable(memory.content), tags)
    return table


def explanation_cells(memory: Recollection) -> list[str]:
    """Return the score and its parts, in the order of the formula."""
    parts = memory.explanation
    effects = (
        parts.importance_effect,
        parts.confidence_effect,
        parts.access_effect,
        parts.recency_effect,
    )
    return [
        f"{memory.score:.3f}",
        _meaning(parts),
        f"{parts.keyword:.3f}",
        *("·" if abs(effect) < 0.0005 else f"{effect:+.3f}" for effect in effects),
    ]


def _meaning(parts: Explanation) -> str:
    nothing = parts.similarity is None and parts.around is None
    return "–" if nothing else f"{parts.meaning:.3f}"


def formula(memories: Sequence[Recollection]) -> str:
    """Return in words how the columns make the score, with the weight that was used."""
    weight = memories[0].explanation.weights.keyword if memories else 0.0
    trust = " × trust" if _is_weighed(memories) else ""
    return f"score = (meaning + {weight:g} × words) × (1 + import. + confid. + use + age){trust}"


def _is_weighed(memories: Sequence[Recollection]) -> bool:
    """Tell whether the trust in a source takes part in a score."""
    return any(memory.explanation.trust != 1 for memory in memories)
