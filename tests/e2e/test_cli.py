"""The command line, as a shell sees it: each test runs the real program."""

import contextlib
import importlib.metadata
import json
import os
import pty
import re
import shutil
import subprocess
import sys
import time
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chrysalis_memory import importers, query, recaller, storage
from chrysalis_memory.cli import fields, finding, moving
from chrysalis_memory.wire import MEMORY_TYPES

ROOT = Path(__file__).parents[2]
HELP_SECONDS_MAX = 3.0  # far above what is usual, for a machine that is busy with other tests
COMMANDS = (
    "backup", "check", "clone", "completion", "demo", "embedders", "erase", "export", "forget",
    "import", "keygen", "learn", "list", "mcp", "purge", "quarantine", "recall", "reindex", "rekey",
    "related", "serve", "show", "sources", "stats", "sync", "tags", "update",
)  # fmt: skip

Run = Callable[..., subprocess.CompletedProcess[str]]


def environment(folder: Path) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "SYSTEMROOT") if name in os.environ}
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    return kept | {
        "HOME": str(folder),
        "XDG_DATA_HOME": str(folder / "data"),
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "CHRYSALIS_EMBEDDER": "hashing",
    }


def runner(folder: Path) -> Run:
    """Return what runs ``chrysalis`` in a folder, on a memory that is kept there."""
    settings = environment(folder) | {"CHRYSALIS_PATH": str(folder / "memory.db")}

    def run(*arguments: str, stdin: str = "", **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "chrysalis_memory.cli", *arguments],
            input=stdin,
            capture_output=True,
            encoding="utf-8",
            cwd=folder,
            env=settings | more,
            timeout=120,
            check=False,
        )

    return run


@pytest.fixture
def chrysalis(tmp_path: Path) -> Run:
    return runner(tmp_path)


@pytest.fixture(scope="module")
def three_memories(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("three")
    run = runner(folder)
    run("learn", "Green tea is at four", "--tag", "tea", "--tag", "green")
    run("learn", "Black tea is at five", "--tag", "tea", "--type", "episodic")
    run("learn", "The tea house is closed", "--namespace", "city")
    return folder / "memory.db"


@pytest.fixture
def filled(chrysalis: Run, three_memories: Path, tmp_path: Path) -> Run:
    assert not three_memories.with_name("memory.db-wal").exists()  # the copy is whole
    shutil.copy(three_memories, tmp_path / "memory.db")
    return chrysalis


def lines(done: subprocess.CompletedProcess[str]) -> list[Any]:
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.split("\n") if line]


def recalled(chrysalis: Run, *arguments: str) -> list[Any]:
    return lines(chrysalis("recall", "--json", "--no-track", *arguments))


# Help and usage


def test_help_names_every_command_and_the_exit_codes(chrysalis: Run):
    done = chrysalis("--help")

    assert done.returncode == 0
    assert re.findall(r"^  (\w+) {2,}[A-Z]", done.stdout, re.MULTILINE)[: len(COMMANDS)] == list(
        COMMANDS
    )
    assert "Exit codes:\n    0    done\n    1    the memory" in done.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(chrysalis: Run, command: str):
    done = chrysalis(command, "--help")

    assert done.returncode == 0
    assert f"chrysalis {command}" in done.stdout


def test_help_answers_at_once(chrysalis: Run):
    chrysalis("--help")  # compiles what was never imported before
    started = time.perf_counter()
    chrysalis("--help")

    assert time.perf_counter() - started < HELP_SECONDS_MAX


def test_help_loads_no_model_runtime_and_no_table_library(tmp_path: Path):
    code = (
        "import sys, click.testing, chrysalis_memory.cli as c\n"
        "click.testing.CliRunner().invoke(c.cli, ['--help'])\n"
        "print(sorted({'onnxruntime', 'tokenizers', 'rich.table', 'torch'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env=environment(tmp_path),
        check=True,
    )

    assert done.stdout == "[]\n"


def test_the_version_is_that_of_the_installed_distribution(chrysalis: Run):
    try:
        version = importlib.metadata.version("chrysalis-memory")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("runs from source; the version is known once it is installed")

    assert chrysalis("--version").stdout == f"chrysalis, version {version}\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["frobnicate"], "No such command 'frobnicate'"),
        (["recall"], "Missing argument 'QUERY'"),
        (["recall", "x", "--frobnicate"], "No such option"),
        (["recall", "x", "--mode", "psychic"], "'psychic' is not one of"),
        (["recall", "x", "-k", "many"], "'many' is not a valid integer"),
        (["learn"], "give a text"),
        (["learn", "x", "--type", "odd"], "'odd' is not one of"),
        (["learn", "x", "--metadata", "a"], "is not KEY=JSON"),
        (["learn", "x", "--metadata", "city=Gent"], "texts need quotes"),
        (["learn", "x", "--lines"], "are read without CONTENT"),
        (["learn", "x", "--file", "absent.txt"], "does not exist"),
        (["learn", "--lines", "--jsonl"], "not both"),
        (["learn", "--lines", "--id", "m"], "do not have one --id"),
        (["learn", "x", "--expires-at", "soon"], "is no date such as"),
        (["update", "m"], "name something to change"),
        (["update", "m", "--never-expires", "--expires-at", "2030-01-01"], "not both"),
        (["forget"], "Missing argument 'ID...'"),
        (["list", "--order", "odd"], "'odd' is not one of"),
        (["completion", "tcsh"], "'tcsh' is not one of"),
        (["import", ".", "--format", "odd"], "'odd' is not one of"),
        (["backup", "a.db", "b.db", "--db", "c.db"], "leave --db out"),
        (["--db", "c.db", "sync", "a.db", "b.db"], "leave --db out"),
        (["import", "absent.jsonl"], "'absent.jsonl' does not exist"),
        (["--json", "demo"], "takes no options"),
    ],
)
def test_wrong_use_ends_with_2_and_says_what_is_wrong(
    chrysalis: Run, arguments: list[str], message: str
):
    done = chrysalis(*arguments)

    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("Error: ")
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


def test_input_that_is_no_utf_8_is_wrong_use(tmp_path: Path):
    done = subprocess.run(
        [sys.executable, "-m", "chrysalis_memory.cli", "learn", "-"],
        input=b"caf\xe9",
        capture_output=True,
        env=environment(tmp_path),
        cwd=tmp_path,
        check=False,
    )

    assert done.returncode == 2
    assert b"not UTF-8" in done.stderr


def test_the_choices_offered_are_those_of_the_memory():
    assert fields.MEMORY_TYPES == MEMORY_TYPES
    assert typing.get_args(recaller.Mode) == finding.MODES
    assert typing.get_args(query.Order) == finding.ORDERS
    assert typing.get_args(storage.Accuracy) == finding.ACCURACIES
    assert importers.FORMATS == moving.FORMATS


# Errors of the memory


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["learn", "   "], "content must hold more than white space"),
        (["learn", "x", "--importance", "7"], "importance"),
        (["learn", "x", "--importance", "nan"], "importance"),
        (["learn", "x", "--embedder", "frobnicate"], "no embedder is called 'frobnicate'"),
        (["learn", "x", "--agent", ""], "agent_id"),
        (["recall", "x", "-k", "0"], "k must be an integer of 1 or more"),
        (["stats", "--db", "folder"], "is a directory"),
        (["stats", "--db", "text.txt"], "no SQLite database"),
        (["import", "text.txt", "--format", "export"], "text.txt:1"),
        (["show", "absent"], "no memory has the id 'absent'; 'chrysalis list'"),
        (["related", "absent"], "no memory has the id 'absent'; 'chrysalis list'"),
        (["update", "absent", "--add-tag", "t"], "no memory has the id 'absent'"),
        (["list", "--limit", "0"], "limit"),
        (["list", "--namespace", "/"], "namespace"),
        (["export", "absent/all.jsonl"], "absent"),
    ],
)
def test_an_error_of_the_memory_is_one_line_and_ends_with_1(
    chrysalis: Run, tmp_path: Path, arguments: list[str], message: str
):
    (tmp_path / "folder").mkdir()
    (tmp_path / "text.txt").write_text("This is a text and no database. " * 200)
    chrysalis("learn", "Tea is at four")
    done = chrysalis(*arguments)

    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("Error: ")
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


def test_another_embedder_than_the_file_s_is_refused_and_nothing_is_lost(chrysalis: Run):
    chrysalis("learn", "Tea is at four")
    done = chrysalis("recall", "tea", "--embedder", "hashing:512")

    assert done.returncode == 1
    assert "hashing" in done.stderr
    assert [m["content"] for m in recalled(chrysalis, "tea")] == ["Tea is at four"]


# Learning


def test_learn_prints_the_id_by_which_the_memory_is_known(chrysalis: Run):
    done = chrysalis("learn", "Tea is at four")
    (found,) = recalled(chrysalis, "tea")

    assert done.stdout == found["id"] + "\n"


def test_learn_stores_everything_that_is_given(chrysalis: Run):
    chrysalis(
        *("learn", "Tea is at four", "--tag", "tea", "--tag", "daily", "--type", "procedural"),
        *("--importance", "0.9", "--confidence", "0.8", "--namespace", "home/kitchen"),
        *("--id", "tea", "--metadata", "cups=2", "--metadata", 'city="Gent"', "--agent", "mara"),
    )
    (found,) = recalled(chrysalis, "tea")

    assert found["id"] == "tea"
    assert found["tags"] == ["tea", "daily"]
    assert found["memory_type"] == "procedural"
    assert (found["importance"], found["confidence"]) == (0.9, 0.8)
    assert found["namespace"] == "home/kitchen"
    assert found["metadata"] == {"cups": 2, "city": "Gent"}
    assert found["source"].startswith("mara@")


def test_learning_the_same_text_again_is_one_memory_with_both_tags(chrysalis: Run):
    first = chrysalis("learn", "Tea is at four", "--tag", "a")
    again = chrysalis("learn", "-", "--tag", "b", stdin="Tea is at four\n")

    assert again.stdout == first.stdout
    assert [m["tags"] for m in recalled(chrysalis, "tea")] == [["a", "b"]]


def test_standard_input_is_one_memory_of_several_lines(chrysalis: Run):
    chrysalis("learn", "-", stdin="Tea is at four.\nCakes are at five – é, 茶 🫖\n")

    assert [m["content"] for m in recalled(chrysalis, "tea")] == [
        "Tea is at four.\nCakes are at five – é, 茶 🫖"
    ]


def test_lines_are_one_memory_each_and_blank_ones_none(chrysalis: Run):
    learned = chrysalis("learn", "--lines", "--tag", "t", stdin="Tea\n\n  \nCake\u2028Jam\nTea\n")
    stats = lines(chrysalis("stats", "--json"))[0]

    assert learned.stdout == "learned 3 memories\n"
    assert stats["memories"] == 2
    assert stats["tags"] == {"t": 2}


def test_learn_prints_json_lines_on_demand(chrysalis: Run):
    found = lines(chrysalis("--json", "learn", "--lines", stdin="one\ntwo\n"))

    assert [list(item) for item in found] == [["id"], ["id"]]


def test_one_bad_line_of_many_stores_nothing(chrysalis: Run):
    done = chrysalis("learn", "--lines", "--importance", "2", stdin="one\ntwo\n")

    assert done.returncode == 1
    assert lines(chrysalis("stats", "--json"))[0]["memories"] == 0


# Recalling


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--tag", "tea"], {"Green tea is at four", "Black tea is at five"}),
        (["--tag", "tea", "--tag", "green"], {"Green tea is at four"}),
        (["--type", "episodic"], {"Black tea is at five"}),
        (["--namespace", "city"], {"The tea house is closed"}),
        (["--min-score", "99"], set()),
        (["-k", "1", "--mode", "keyword", "--tag", "green"], {"Green tea is at four"}),
    ],
)
def test_recall_finds_only_what_meets_every_condition(
    filled: Run, arguments: list[str], expected: set[str]
):
    assert {m["content"] for m in recalled(filled, "tea", *arguments)} == expected


def test_recall_as_json_explains_each_score(filled: Run):
    found = recalled(filled, "black tea at five")

    assert found[0]["content"] == "Black tea is at five"
    assert [m["score"] for m in found] == sorted((m["score"] for m in found), reverse=True)
    for memory in found:
        parts = memory["explanation"]
        assert memory["score"] == pytest.approx(parts["relevance"] * parts["factor"])


def test_recall_counts_as_a_use_unless_told_otherwise(filled: Run):
    filled("recall", "green tea", "-k", "1", "--no-track")
    assert recalled(filled, "green tea")[0]["access_count"] == 0

    filled("recall", "green tea", "-k", "1")
    assert recalled(filled, "green tea")[0]["access_count"] == 1


def test_recall_for_people_is_a_table_without_colour_codes_in_a_pipe(filled: Run):
    done = filled("recall", "green tea", "--tag", "tea")

    assert re.search(r"score +memory +tags", done.stdout)
    assert re.search(r"\d\.\d{3} +Green tea is at four +tea, green", done.stdout)
    assert "\x1b" not in done.stdout
    assert max(len(line) for line in done.stdout.split("\n")) <= 100


def test_recall_explains_the_score_in_columns(filled: Run):
    done = filled("recall", "green tea", "--explain")

    assert re.search(r"score +meaning +words +import\. +confid\. +use +age +memory", done.stdout)
    assert "score = (meaning + 0.4 × words) × (1 + import. + confid. + use + age)" in done.stdout


def test_recall_of_nothing_says_so_on_standard_error(chrysalis: Run):
    chrysalis("learn", "Tea is at four")
    done = chrysalis("recall", "tea", "--tag", "absent")

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "nothing found\n")


@pytest.mark.parametrize(
    "arguments", [["recall", "tea"], ["stats"], ["export", "all.jsonl"], ["reindex"]]
)
def test_reading_a_memory_that_is_not_there_makes_none(
    chrysalis: Run, tmp_path: Path, arguments: list[str]
):
    done = chrysalis(*arguments, "--db", "mistyped.db")

    assert done.returncode == 1
    assert "there is no memory at 'mistyped.db'" in done.stderr
    assert not (tmp_path / "mistyped.db").exists()


def test_a_memory_cannot_steer_the_terminal(chrysalis: Run):
    hostile = "tea \x1b[2J\x1b]0;owned\x07 [red]markup[/red] \u202ereversed \r\n\tend"
    chrysalis("learn", "-", "--tag", "\x1b[31m", stdin=hostile)
    done = chrysalis("recall", "tea", FORCE_COLOR="1")

    steering = ("\x1b[2J", "\x1b]", "\x07", "\u202e", "\x1b[31m")
    assert [sequence for sequence in steering if sequence in done.stdout] == []
    assert "[red]markup[/red]" in done.stdout


# Statistics and moving


def test_stats_show_what_the_memory_holds(filled: Run, tmp_path: Path):
    (held,) = lines(filled("stats", "--json"))
    table = filled("stats").stdout

    assert held["memories"] == 3
    assert held["tags"] == {"tea": 2, "green": 1}
    assert held["path"] == str(tmp_path / "memory.db")
    assert held["embedder"].startswith("hashing/")
    assert held["pending"] == 0
    assert held["size_bytes"] > 0
    assert re.search(r"^memories +3 *$", table, re.MULTILINE)
    assert re.search(r"^tags +tea 2, green 1 *$", table, re.MULTILINE)


def test_what_is_exported_can_be_imported_elsewhere(filled: Run, tmp_path: Path):
    exported = filled("export", "all.jsonl")
    imported = filled("import", "all.jsonl", "--db", "other.db")
    again = filled("import", "all.jsonl", "--db", "other.db", "--json")

    assert exported.stdout == "exported 3 memories to all.jsonl\n"
    assert imported.stdout == "3 memories changed\n"
    assert lines(again) == [{"format": "export", "changed": 0, "pending": 0}]
    assert len((tmp_path / "all.jsonl").read_text().splitlines()) == 3
    assert recalled(filled, "green tea", "--db", "other.db")[0]["tags"] == ["tea", "green"]


def test_two_memories_that_import_each_other_hold_the_same(filled: Run, tmp_path: Path):
    filled("learn", "Green tea is at four", "--tag", "elsewhere", "--db", "other.db")
    for source, target in (("memory.db", "other.db"), ("other.db", "memory.db")):
        filled("export", "all.jsonl", "--db", source)
        filled("import", "all.jsonl", "--db", target)
    for name in ("memory", "other"):
        filled("export", f"{name}.jsonl", "--db", f"{name}.db")

    one, other = (
        sorted((tmp_path / f"{name}.jsonl").read_text().splitlines())
        for name in ("memory", "other")
    )
    assert one == other
    assert set(recalled(filled, "green tea")[0]["tags"]) == {"tea", "green", "elsewhere"}


def test_a_file_with_a_bad_line_imports_nothing(filled: Run, tmp_path: Path):
    filled("export", "all.jsonl")
    with (tmp_path / "all.jsonl").open("a") as file:
        file.write('{"no": "memory"}\n')
    done = filled("import", "all.jsonl", "--db", "other.db")

    assert done.returncode == 1
    assert "all.jsonl:4" in done.stderr
    assert lines(filled("stats", "--json", "--db", "other.db"))[0]["memories"] == 0


def test_reindex_keeps_every_memory_found(filled: Run):
    done = filled("reindex", "--json")

    assert lines(done)[0]["embedded"] == 0
    assert len(recalled(filled, "tea")) == 3


def test_reindex_with_another_embedder_embeds_every_memory_anew(filled: Run):
    (done,) = lines(filled("reindex", "--embedder", "hashing:512", "--json"))
    (held,) = lines(filled("stats", "--embedder", "hashing:512", "--json"))

    assert done == {"embedded": 3, "embedder": held["embedder"]}
    assert held["dimension"] == 512
    assert len(recalled(filled, "tea", "--embedder", "hashing:512")) == 3


def test_reindex_does_not_replace_an_embedder_that_was_not_named(filled: Run):
    done = filled("reindex", CHRYSALIS_EMBEDDER="hashing:512")

    assert done.returncode == 1
    assert len(recalled(filled, "tea")) == 3


# Options and terminals


def test_options_stand_before_or_after_the_command(chrysalis: Run):
    chrysalis("--db", "a.db", "learn", "Tea is at four")

    assert lines(chrysalis("stats", "--db", "a.db", "--json"))[0]["memories"] == 1
    assert lines(chrysalis("--db", "b.db", "stats", "--db", "a.db", "--json"))[0]["memories"] == 1
    chrysalis("learn", "Coffee is at five")
    assert lines(chrysalis("--json", "stats"))[0]["memories"] == 1


def test_each_agent_has_a_file_of_its_own_in_the_data_folder(
    tmp_path: Path,
):
    def run(*arguments: str) -> Any:
        done = subprocess.run(
            [sys.executable, "-m", "chrysalis_memory.cli", *arguments, "--json"],
            capture_output=True, text=True, env=environment(tmp_path), cwd=tmp_path, check=True,
        )  # fmt: skip
        return json.loads(done.stdout)

    run("learn", "Tea is at four", "--agent", "mara")
    run("learn", "Tea is at four")
    run("learn", "Coffee is at five")

    assert run("stats", "--agent", "mara")["memories"] == 1
    assert run("stats")["memories"] == 2
    assert run("stats", "--agent", "mara")["agent"] == "mara"
    assert run("stats", "--agent", "mara")["path"] != run("stats")["path"]


@pytest.mark.parametrize("arguments", [["learn", "--lines"], ["import", "all.jsonl"]])
def test_long_work_shows_a_progress_bar_on_a_terminal(
    chrysalis: Run, tmp_path: Path, arguments: list[str]
):
    chrysalis("learn", "Tea is at four")
    chrysalis("export", "all.jsonl")
    master, slave = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "chrysalis_memory.cli", *arguments, "--db", "other.db"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=slave, cwd=tmp_path,
        env=environment(tmp_path) | {"TERM": "xterm"},
    ) as process:  # fmt: skip
        os.close(slave)
        process.communicate(b"one\ntwo\n", timeout=60)
    shown = b""
    with contextlib.suppress(OSError):  # Linux says EIO where the other end has closed
        while part := os.read(master, 65_536):
            shown += part
    os.close(master)

    assert process.returncode == 0
    assert b"100%" in shown


def test_no_progress_bar_is_shown_in_a_pipe(chrysalis: Run):
    assert chrysalis("learn", "--lines", stdin="one\ntwo\n").stderr == ""
