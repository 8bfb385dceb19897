"""In a notebook memories show themselves as tables, whatever their text is."""

import re
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

from chrysalis_memory import AgentMemory, MemoryDocument, Recollection, jupyter
from chrysalis_memory.storage import MemoryStorage

HOSTILE = "<script>alert('x')</script> \"><img src=x onerror=alert(1)> &amp; \u202egnp"
VOID = {"br", "img"}


class Structure(HTMLParser):
    """Notes every element, and whether each is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.attributes: set[str] = set()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.add(tag)
        self.attributes |= {name for name, _ in attrs}
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def structure(html: str) -> Structure:
    parser = Structure()
    parser.feed(html)
    parser.close()
    assert parser.open == []
    return parser


def text(html: str) -> str:
    return re.sub(r"<[^>]+>", " ", html)


def hostile_document() -> MemoryDocument:
    memory = MemoryDocument(id=HOSTILE, content=HOSTILE, source_instance=HOSTILE)
    memory.add_tag(HOSTILE)
    memory.set_namespace("a<b>/c")
    memory.set_metadata({HOSTILE: HOSTILE})
    memory.set_episode(HOSTILE, 1)
    memory.add_related(HOSTILE)
    memory.add_parent(HOSTILE)
    memory.add_evidence(HOSTILE)
    return memory


async def recalled(*contents: str) -> list[Recollection]:
    async with AgentMemory("ada", path=":memory:", embedder="hashing") as agent:
        for content in contents:
            await agent.learn(content, tags=["t"])
        return await agent.recall("tea at four", k=100)


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))  # nothing is written into the home folder
    monkeypatch.delenv("VIRTUAL_ENV", raising=False)  # IPython warns of one that is not its own
    config: Any = Config()
    config.HistoryManager.enabled = False
    return InteractiveShell(config=config)


def html_of(shell: Any, value: object) -> str | None:
    shown, _ = shell.display_formatter.format(value)
    return shown.get("text/html")


def test_hostile_text_stays_text_in_every_field():
    found = structure(jupyter.memory_html(hostile_document()))

    assert found.names == {"table", "tr", "td", "span", "code", "bdi"}
    assert found.attributes == {"style"}


def test_hostile_text_stays_text_in_lists_and_statistics():
    with MemoryStorage(":memory:", "ada") as storage:
        storage.put(hostile_document())
        statistics = storage.statistics()

    assert "script" not in structure(jupyter.memories_html([hostile_document()])).names
    assert "img" not in structure(jupyter.statistics_html(statistics)).names


def test_a_memory_shows_what_is_known_of_it_and_nothing_else():
    memory = MemoryDocument(id="m", content="Tea is at four", source_instance="ada")
    memory.set_expires_at(datetime(2990, 1, 2, 3, 4, tzinfo=UTC))
    memory.record_access("ada", 7)

    shown = text(jupyter.memory_html(memory))

    assert "Tea is at four" in shown
    assert "2990-01-02 03:04 UTC" in shown
    assert re.search(r"used\s+7", shown)
    assert "evidence" not in shown
    assert "namespace" not in shown


def test_a_forgotten_memory_shows_that_it_is():
    memory = MemoryDocument(id="<m>", content="Tea is at four")
    memory.forget()

    assert "forgotten" in jupyter.memory_html(memory)
    assert "&lt;m&gt;" in jupyter.memory_html(memory)
    assert "forgotten" in jupyter.memories_html([memory])


async def test_an_explanation_shows_every_part_of_the_score():
    (found,) = await recalled("Tea is at four")
    parts = found.explanation

    shown = text(jupyter.explanation_html(parts))

    for value in (parts.similarity, parts.keyword, parts.relevance, parts.factor, parts.score):
        assert f"{value:.3f}" in shown
    assert f"{parts.recency_effect:+.3f}" in shown


async def test_a_recollection_shows_its_fields_and_its_explanation():
    (found,) = await recalled("Tea is at four")

    shown = jupyter.recollection_html(found)

    assert "Tea is at four" in shown
    assert jupyter.explanation_html(found.explanation) in shown


async def test_recollections_show_a_bar_for_each_score_the_best_being_full():
    found = await recalled("Tea is at four", "Coffee is at five")

    widths = re.findall(r"width:(\d+)%", jupyter.memories_html(found))[::2]

    assert widths[0] == "100"
    assert widths[1] == f"{100 * found[1].score / found[0].score:.0f}"


def test_a_long_list_says_how_many_it_leaves_out():
    memories = [MemoryDocument(content=f"number {n}") for n in range(61)]

    shown = jupyter.memories_html(memories)

    assert shown.count("<tr>") == 51
    assert "and 11 more" in shown


def test_a_long_text_is_cut_with_an_ellipsis():
    shown = jupyter.memories_html([MemoryDocument(content="x" * 10_000)])

    assert "x" * 399 + "…" in shown
    assert "x" * 400 not in shown


def test_the_extension_gives_memories_and_lists_of_them_tables(shell: Any):
    memory = MemoryDocument(content="Tea is at four")
    assert html_of(shell, memory) is None

    shell.extension_manager.load_extension("chrysalis_memory.jupyter")

    assert html_of(shell, memory) == jupyter.memory_html(memory)
    assert html_of(shell, [memory]) == jupyter.memories_html([memory])


@pytest.mark.parametrize("value", [[], [1, 2], ["a"], [MemoryDocument(content="x"), "a"]])
def test_other_lists_are_shown_as_before(shell: Any, value: list[Any]):
    before, _ = shell.display_formatter.format(value)
    shell.extension_manager.load_extension("chrysalis_memory.jupyter")

    assert shell.display_formatter.format(value)[0] == before


async def test_the_extension_gives_results_of_recall_their_own_tables(shell: Any):
    found = await recalled("Tea is at four")
    shell.extension_manager.load_extension("chrysalis_memory.jupyter")

    assert html_of(shell, found) == jupyter.memories_html(found)
    assert html_of(shell, found[0]) == jupyter.recollection_html(found[0])
    assert html_of(shell, found[0].explanation) == jupyter.explanation_html(found[0].explanation)


def test_unloading_takes_the_tables_back(shell: Any):
    shell.extension_manager.load_extension("chrysalis_memory.jupyter")
    shell.extension_manager.unload_extension("chrysalis_memory.jupyter")

    assert html_of(shell, MemoryDocument(content="Tea is at four")) is None
    assert html_of(shell, [MemoryDocument(content="Tea is at four")]) is None


def test_unloading_leaves_a_formatter_that_somebody_else_registered(shell: Any):
    shell.extension_manager.load_extension("chrysalis_memory.jupyter")
    formatter = shell.display_formatter.formatters["text/html"]
    formatter.for_type(MemoryDocument, lambda memory: "<b>mine</b>")

    shell.extension_manager.unload_extension("chrysalis_memory.jupyter")

    assert html_of(shell, MemoryDocument(content="Tea is at four")) == "<b>mine</b>"
