"""The notebooks run from a fresh kernel, offline, and show what they promise."""

import json
import os
import re
import tempfile
import time
from functools import cache
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from chrysalis_memory.demo.conversation import conversation

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
SIZE_MAX = 100_000
SECONDS_MAX = 180.0

seconds: dict[Path, float] = {}


@cache
def executed(path: Path, *settings: tuple[str, str]) -> Any:
    notebook: Any = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        cell.pop("outputs", None)
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    client = NotebookClient(
        notebook, timeout=120, kernel_name="python3", resources={"metadata": {"path": str(ROOT)}}
    )
    # Where the package is not installed, the kernel finds it as this process does.
    environment = dict(os.environ)
    paths = [str(ROOT), environment.get("PYTHONPATH", "")]
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as profile:
        client.execute(env=environment | {"IPYTHONDIR": profile} | dict(settings))
    seconds.setdefault(path, time.monotonic() - started)
    return notebook


def output(notebook: Any, cell_id: str) -> str:
    (cell,) = [cell for cell in notebook.cells if cell.id == cell_id]
    shown: list[str] = []
    for item in cell.outputs:
        shown.append(item.get("text", ""))
        shown += item.get("data", {}).values()
    return "\n".join(shown)


def figures(notebook: Any) -> list[str]:
    """Return the ids of the cells that drew something."""
    return [
        cell.id
        for cell in notebook.cells
        if any("image/png" in item.get("data", {}) for item in cell.get("outputs", []))
    ]


@pytest.fixture(scope="module")
def quickstart() -> Any:
    return executed(ROOT / "notebooks" / "01_quickstart.ipynb")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_every_notebook_runs_from_a_fresh_kernel(path: Path):
    notebook = executed(path)  # a cell that raises makes this raise

    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))


def test_the_quickstart_finds_the_cat_without_a_shared_word(quickstart: Any):
    shown = output(quickstart, "recall")

    assert "The cat sleeps on the grey sofa" in shown
    assert shown.index("The cat sleeps") < shown.index("allergic to shellfish")


def test_the_quickstart_shows_memories_and_explanations_as_tables(quickstart: Any):
    assert "<table" in output(quickstart, "recall")
    assert "relevance × factor" in output(quickstart, "explain")
    assert "recomputed exactly: True" in output(quickstart, "recompute")


def test_the_quickstart_recalls_under_a_condition(quickstart: Any):
    assert "Mara travels by train" in output(quickstart, "filter")
    assert "grey sofa" not in output(quickstart, "filter")


def test_the_quickstart_merges_two_replicas_into_equal_ones(quickstart: Any):
    merged = output(quickstart, "merge")
    equal = output(quickstart, "equal")

    assert "five at most" in merged
    assert "birthday" in merged
    assert "family" in merged
    assert "equal, byte for byte: True" in equal
    assert "merging again changes: 0" in equal
    assert "forgotten on both: True" in equal


def test_both_replicas_of_the_quickstart_answer_alike(quickstart: Any):
    answers = output(quickstart, "same-answer").split("\n")

    assert [line.split("  ", 1)[1] for line in answers if line] == [
        "Tilde turns nine on 12 April",
        "Tilde turns nine on 12 April",
    ]


def test_the_replicas_are_the_same_after_one_sync_and_draw_who_knew_what_when():
    notebook = executed(ROOT / "notebooks" / "02_replicas.ipynb")
    merged = output(notebook, "sync")

    assert "received 3, sent 2, afterwards the same" in merged
    assert all(part in merged for part in ("The outer buoy is red", "checked", "boat", "shore"))
    assert "nothing new: 2 messages" in output(notebook, "again")
    assert "the pump: None None" in output(notebook, "again")
    (picture,) = [cell for cell in notebook.cells if cell.id == "picture"]
    assert any("image/png" in item.get("data", {}) for item in picture.outputs)


def test_a_memory_is_explored_in_four_pictures_and_its_twins_are_linked():
    notebook = executed(ROOT / "notebooks" / "03_explore.ipynb")

    assert figures(notebook) == ["map", "time", "value", "twins"]
    assert "24 questions asked" in output(notebook, "use")
    assert "3 groups of near-duplicates" in output(notebook, "twins")
    assert "Mochi gets half a thyroid tablet" in output(notebook, "groups")
    assert output(notebook, "link").startswith("related: ")


def test_a_conversation_of_ones_own_is_explored_from_a_path(tmp_path: Path):
    turns = [memory for memory in conversation() if memory.episode is not None]
    said = [memory.content.partition(": ") for memory in turns]
    spoken = [{"speaker": who, "dia_id": "", "text": text} for who, _, text in said]
    talk = {"session_1": spoken[:20], "session_1_date_time": "1:56 pm on 8 May, 2023",
            "session_2": spoken[20:], "session_2_date_time": "9:05 am on 25 May, 2023"}  # fmt: skip
    qa = [{"question": "Where does the pet take its nap?"}]
    path = tmp_path / "talk.json"
    path.write_text(json.dumps([{"conversation": talk, "qa": qa}]), encoding="utf-8")

    notebook = executed(
        ROOT / "notebooks" / "03_explore.ipynb", ("CHRYSALIS_CONVERSATION", str(path))
    )

    assert "<bdi>minilm/" in output(notebook, "read")
    assert f">{len(turns)}<" in output(notebook, "read")
    assert "1 questions asked" in output(notebook, "use")
    assert figures(notebook) == ["map", "time", "value", "twins"]


def test_embedders_are_compared_and_what_is_not_there_is_said():
    notebook = executed(ROOT / "notebooks" / "04_embedders.ipynb")
    which, measured = output(notebook, "which"), output(notebook, "measure")
    mrr = dict(re.findall(r"^(\w+(?: alone)?) +\S+ +\S+ +(\d\.\d+)", measured, re.MULTILINE))

    assert "model2vec      skipped: no model is named in CHRYSALIS_MODEL2VEC" in which
    assert "transformers   skipped:" in which
    assert mrr.keys() >= {"hashing", "minilm", "words alone"}
    assert float(mrr["minilm"]) > 0.6 > float(mrr["hashing"])
    assert figures(notebook) == ["picture", "size"]


def test_it_is_told_why_a_memory_was_recalled_and_why_another_was_not():
    notebook = executed(ROOT / "notebooks" / "05_why_recalled.ipynb")
    reasons = output(notebook, "not").splitlines()

    assert "recomputed exactly: True" in output(notebook, "exact")
    assert "the parts add up: True" in output(notebook, "bars")
    assert [line.split("  ")[-1].strip() for line in reasons[:4:2]] == [
        "it is returned, at rank 1",
        "the condition tags_any does not hold",
    ]
    assert "is below min_score 0.6" in reasons[3]
    assert reasons[5].endswith("it is archived")
    assert figures(notebook) == ["bars", "weight", "neighbour", "prior"]
    assert "> Mara: It's Saturday" in output(notebook, "context")


def test_all_notebooks_together_take_less_than_three_minutes():
    for path in NOTEBOOKS:
        executed(path)

    assert SECONDS_MAX > sum(seconds[path] for path in NOTEBOOKS)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_a_notebook_is_kept_with_small_outputs_and_without_errors(path: Path):
    notebook: Any = nbformat.read(path, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]

    assert path.stat().st_size <= SIZE_MAX
    assert any(cell.outputs for cell in code)
    assert not [o for cell in code for o in cell.outputs if o.output_type == "error"]
    assert "/tmp/" not in path.read_text(encoding="utf-8")
