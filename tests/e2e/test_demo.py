"""The demonstration tells its story offline, quickly, and every claim it makes holds."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from rich.console import Console

from chrysalis_memory import AgentMemory, demo
from chrysalis_memory.demo.conversation import conversation, questions

ROOT = Path(__file__).parents[2]
SECONDS_MAX = 20.0  # about 2 on a quiet machine; tests share theirs


def environment(folder: Path) -> dict[str, str]:
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    return {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "HOME": str(folder),
        "TMPDIR": str(folder),
        # Settings of the user must not change the story.
        "CHRYSALIS_EMBEDDER": "hashing",
        "CHRYSALIS_PATH": str(folder / "users.db"),
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo")


@pytest.fixture(scope="module")
def told(folder: Path) -> str:
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "chrysalis_memory.cli", "demo"],
        capture_output=True,
        encoding="utf-8",
        env=environment(folder),
        cwd=folder,
        timeout=120,
        check=False,
    )
    seconds = time.perf_counter() - started
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert seconds < SECONDS_MAX
    return done.stdout


def flat(told: str) -> str:
    return " ".join(told.split())


def test_it_learns_the_conversation_that_ships_with_it(told: str):
    assert len(conversation()) == 52
    assert "52 memories, learned in" in flat(told)
    assert "with all-MiniLM-L6-v2" in flat(told)


def test_it_finds_by_meaning_without_a_shared_word(told: str):
    _, _, answer = told.partition("Where does the pet take its nap?")
    _score, meaning, words, *_ = flat_rows(answer).split("\n")[0].split()

    assert float(meaning) > 0.3
    assert words == "0.000"
    assert "grey sofa" in flat(answer)[:700]
    assert "shares no word with the question" in flat(answer)[:1500]


def flat_rows(answer: str) -> str:
    rows = re.split(r"\n(?= \d\.\d{3} )", answer)[1:]
    return "\n".join(" " + flat(row) for row in rows)


def test_it_answers_every_question_with_the_right_memory(told: str):
    for question, words in (
        ("Which medicine does the animal take?", "thyroid tablet"),
        ("Why is the bridge made from wood?", "built of larch"),
        ("What present would the child love?", "a telescope"),
        ("When is the deadline of the proposal?", "due on 28 March"),
    ):
        _, _, answer = told.partition(question)
        assert words in flat_rows(answer).split("\n")[0]


def test_it_shows_how_use_raises_a_score(told: str):
    _, _, answer = told.partition("Which seafood is dangerous for her?")
    before, after = flat_rows(answer).split("\n")[:2]

    assert float(after.split()[0]) > float(before.split()[0])
    assert "+0.033" in after


def test_it_merges_two_replicas_into_equal_ones(told: str):
    digests = re.search(
        r"laptop: ([0-9a-f]{12}), of all 52 on the phone: ([0-9a-f]{12}); they are equal",
        flat(told),
    )

    assert digests is not None
    assert digests[1] == digests[2]
    assert "Merging once more changes 0 memories." in told
    assert "both answer the same: “Physiotherapy is every Thursday" in flat(told)
    assert "DIFFERENT" not in told


def test_it_learns_the_same_text_on_both_as_one_memory(told: str):
    assert re.search(r"It is 1 memory, m-[0-9a-f]{32}, with the tags date, work", flat(told))


def test_its_tables_fit_in_100_columns_without_colour_codes(told: str):
    assert max(len(line) for line in told.split("\n")) <= 100
    assert "\x1b" not in told


def test_it_leaves_nothing_behind_and_does_not_touch_the_user_s_memory(told: str, folder: Path):
    assert told
    assert list(folder.rglob("*")) == []


def test_it_runs_as_a_module_too(tmp_path: Path):
    done = subprocess.run(
        [sys.executable, "-m", "chrysalis_memory.demo"],
        capture_output=True,
        encoding="utf-8",
        env=environment(tmp_path),
        cwd=tmp_path,
        timeout=120,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert "they are equal" in flat(done.stdout)


async def test_the_merged_replicas_hold_every_change(tmp_path: Path):
    await demo.run(Console(quiet=True), tmp_path)

    for name in ("laptop", "phone"):
        async with AgentMemory("ada", path=tmp_path / f"{name}.db", embedder="minilm") as memory:
            by_text = {m.content: m for m in await memory.recent(1000)}
            calls = by_text["No calls before 10:30; mornings are for drawing."]
            deadline = by_text["The river park proposal is due on 28 March at noon."]
            school = by_text["Outside working days only Tilde's school may reach Mara."]

            assert set(calls.get_tags()) == {"preference", "quiet"}
            assert deadline.get_importance() == 0.2
            assert school.get_importance() == 0.6
            assert "Physiotherapy is every Thursday at 8:00, by the canal." in by_text
            assert "Mochi gets half a thyroid tablet every morning." not in by_text


def test_every_question_about_the_conversation_has_one_answer_or_a_turn_and_its_note():
    texts = [memory.content for memory in conversation()]
    answers = [
        [text for text in texts if any(words in text for words in answers)]
        for _, answers in questions()
    ]

    assert len(answers) == 24
    assert {1, 2} == {len(found) for found in answers}
    assert [] == [
        words for _, several in questions() for words in several
        if not any(words in text for text in texts)
    ]  # fmt: skip
