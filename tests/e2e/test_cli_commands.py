"""Commands that look into a memory, change it, bring memories in, and check it."""

import json
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apsw
import pytest

from tests.e2e import programs

Run = Callable[..., "subprocess.CompletedProcess[str]"]


def runner(folder: Path) -> Run:
    settings = programs.environment(folder) | {
        "CHRYSALIS_PATH": str(folder / "memory.db"),
        "XDG_CONFIG_HOME": str(folder / "config"),
    }

    def run(
        *arguments: str, stdin: str | None = None, **more: str
    ) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [*programs.COMMAND, *arguments],
            input=stdin or "", capture_output=True, encoding="utf-8", cwd=folder,
            env=settings | more, timeout=240, check=False,
        )  # fmt: skip

    return run


@pytest.fixture
def chrysalis(tmp_path: Path) -> Run:
    return runner(tmp_path)


@pytest.fixture(scope="module")
def teas(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("teas")
    fields: list[dict[str, Any]] = [
        {"id": "green", "content": "Green tea is at four", "tags": ["tea", "green"],
         "metadata": {"cups": 2}, "importance": 0.9, "episode": "day", "position": 0},
        {"id": "black", "content": "Black tea is at five", "tags": ["tea"], "parents": ["green"],
         "memory_type": "episodic", "episode": "day", "position": 1, "confidence": 0.9},
        {"id": "house", "content": "The tea house is closed", "namespace": "city/west"},
    ]  # fmt: skip
    lines = "\n".join(map(json.dumps, fields))
    assert runner(folder)("learn", "--jsonl", stdin=lines).returncode == 0
    return folder / "memory.db"


@pytest.fixture
def filled(chrysalis: Run, teas: Path, tmp_path: Path) -> Run:
    assert not teas.with_name("memory.db-wal").exists()  # the copy is whole
    shutil.copy(teas, tmp_path / "memory.db")
    return chrysalis


def lines(done: "subprocess.CompletedProcess[str]") -> list[Any]:
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.split("\n") if line]


def ids(done: "subprocess.CompletedProcess[str]") -> list[str]:
    return [memory["id"] for memory in lines(done)]


# Learning


def test_learn_reads_a_file_as_one_memory_and_its_lines_as_many(chrysalis: Run, tmp_path: Path):
    (tmp_path / "a.txt").write_text("Tea is at four\nCake is at five\n")

    assert chrysalis("learn", "--file", "a.txt", "--id", "both").stdout == "both\n"
    assert chrysalis("learn", "--file", "a.txt", "--lines").stdout == "learned 2 memories\n"
    assert {m["content"] for m in lines(chrysalis("list", "--json"))} == {
        "Tea is at four\nCake is at five", "Tea is at four", "Cake is at five",
    }  # fmt: skip


def test_learn_jsonl_learns_what_it_can_and_names_the_lines_it_cannot(
    chrysalis: Run, tmp_path: Path
):
    given = (
        '{"content": "a"}\n\n{"content": " "}\nnope\n{"content": "a", "tags": ["own"]}\n{"x": 1}\n'
    )
    done = chrysalis("learn", "--jsonl", "--tag", "t", stdin=given)
    (tmp_path / "a.jsonl").write_text(given)
    again = chrysalis("learn", "--jsonl", "--file", "a.jsonl", "--json")

    assert (done.returncode, done.stdout) == (1, "learned 1, joined 1, refused 3\n")
    assert [line.split(": ")[0] for line in done.stderr.splitlines()] == [
        "refused line 3", "refused line 4", "refused line 6",
    ]  # fmt: skip
    assert "content: Field required" in done.stderr
    assert json.loads(again.stdout) == {"learned": 0, "joined": 2, "refused": 3}
    assert "refused a.jsonl:4: not strict JSON" in again.stderr
    assert [m["tags"] for m in lines(chrysalis("list", "--json"))] == [["t", "own"]]


# Looking


def test_show_tells_all_of_a_memory(filled: Run):
    (record,) = lines(filled("show", "green", "--json", "--history"))
    shown = filled("show", "green", "--history").stdout

    assert record["content"] == "Green tea is at four"
    assert record["metadata"] == {"cups": 2}
    assert {write["field"] for write in record["history"]} >= {"created", "content", "tags"}
    assert re.search(r"^tags +tea, green *$", shown, re.MULTILINE)
    assert re.search(r'^metadata +\{"cups": 2\} *$', shown, re.MULTILINE)
    assert re.search(r"metadata\.cups +2 +default@", shown)


def test_show_shows_a_long_text_whole_in_its_lines(chrysalis: Run):
    chrysalis("learn", "-", "--id", "long", stdin="word " * 200 + "\n\x1b[31mend")
    shown = chrysalis("show", "long").stdout

    assert shown.count("word") == 200
    assert re.search(r"^ +�\[31mend *$", shown, re.MULTILINE)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], ["house", "black", "green"]),
        (["--order", "created", "--limit", "1", "--offset", "1"], ["black"]),
        (["--order", "importance", "--limit", "1"], ["green"]),
        (["--order", "created", "--limit", "1", "--all"], ["green", "black", "house"]),
        (["--tag", "tea", "--no-tag", "green"], ["black"]),
        (["--any-tag", "green", "--any-tag", "other"], ["green"]),
        (["--type", "episodic", "--type", "working"], ["black"]),
        (["--namespace", "city/west"], ["house"]),
        (["--namespace-prefix", "city"], ["house"]),
        (["--namespace", ""], ["black", "green"]),
        (["--episode", "day"], ["black", "green"]),
        (["--metadata", 'cups={"$gte": 2}'], ["green"]),
        (["--metadata", "cups=3"], []),
        (["--min-importance", "0.8"], ["green"]),
        (["--min-confidence", "0.8"], ["black"]),
        (["--created-from", "2020-01-01", "--created-before", "2021-01-01"], []),
        (["--updated-from", "2020-01-01", "--updated-before", "2999-01-01T00:00Z"],
         ["house", "black", "green"]),
    ],
)  # fmt: skip
def test_list_gives_what_meets_every_condition(
    filled: Run, arguments: list[str], expected: list[str]
):
    assert ids(filled("list", "--json", *arguments)) == expected


def test_list_says_that_there_is_more(filled: Run):
    done = filled("list", "--limit", "2")

    assert re.search(r"house +The tea house is closed", done.stdout)
    assert done.stderr == "2 of 3; --limit, --offset and --all show others\n"
    assert filled("list", "--all").stderr == ""


def test_recall_takes_the_conditions_and_options_of_the_memory(filled: Run):
    asked = ("recall", "tea", "--json", "--no-track", "--accuracy", "exact", "--diversity", "0.5")
    (found,) = lines(filled(*asked, "--metadata", "cups=2", "--context", "1"))

    assert found["id"] == "green"
    assert [one["id"] for one in found["context"]] == ["black"]
    table = filled("recall", "green tea at four", "-k", "1", "--context", "1").stdout
    assert re.search(r"Green tea is at four.*\n +Black tea is at five", table)
    assert filled("recall", "tea", "--rerank", "late").returncode == 1
    late = filled("recall", "tea", "--rerank", "late", CHRYSALIS_LATE_INTERACTION="true")
    assert (late.returncode, late.stderr.count("\n")) == (1, 1)  # hashing makes no token vectors


def test_tags_are_counted_commonest_first(filled: Run):
    assert lines(filled("tags", "--json")) == [
        {"tag": "tea", "memories": 2}, {"tag": "green", "memories": 1},
    ]  # fmt: skip
    assert re.search(r"^ tea +1 *$", filled("tags", "--type", "episodic").stdout, re.MULTILINE)
    assert filled("tags", "--namespace-prefix", "city").stderr == "no tags\n"


def test_related_shows_links_and_then_what_is_alike(filled: Run):
    found = lines(filled("related", "black", "--json", "-k", "1"))

    assert [(one["id"], one["link"]) for one in found] == [("green", "parent"), ("house", None)]
    assert [0 < one["similarity"] < 1 for one in found] == [True, True]
    assert re.search(r"parent +0\.\d{3} +green +Green tea", filled("related", "black").stdout)


# Changing


def test_update_changes_what_is_named_and_nothing_else(filled: Run):
    (before,) = lines(filled("show", "green", "--json"))
    done = filled(
        *("update", "green", "--content", "-", "--add-tag", "new", "--remove-tag", "tea"),
        *("--metadata", "cups=null", "--metadata", 'at="four"', "--importance", "0", "--related"),
        *("house", "--expires-at", "2999-01-01T00:00Z", "--archive", "--json"),
        stdin="White tea\n",
    )
    (after,) = lines(done)

    assert {name for name in after if after[name] != before[name]} == {
        "content", "tags", "metadata", "importance", "related", "expires_at", "archived",
        "updated_at", "version", "writers",
    }  # fmt: skip
    assert (after["content"], after["tags"], after["importance"]) == (
        "White tea",
        ["green", "new"],
        0,
    )
    assert after["metadata"] == {"at": "four"} | (
        {"cups": None} if "cups" in after["metadata"] else {}
    )
    assert after["archived"] is True
    assert ids(filled("list", "--json")) == ["house", "black"]
    assert ids(filled("list", "--json", "--include-archived", "--tag", "new")) == ["green"]
    (again,) = lines(filled("update", "green", "--unarchive", "--never-expires", "--json"))
    assert (again["archived"], again["expires_at"]) == (False, None)
    assert filled("update", "green", "--type", "working").stdout == "green\n"


def test_erase_leaves_no_byte_and_refuses_an_unknown_id_before_it_changes_anything(filled: Run):
    refused = filled("erase", "green", "nobody")
    kept = ids(filled("list", "--json"))
    done = filled("erase", "green", "green")
    again = filled("erase", "green", "--json")

    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr == (
        "Error: no memory has the id 'nobody'; 'chrysalis list' shows what there is\n"
    )
    assert "green" in kept
    assert (done.returncode, done.stdout, done.stderr) == (0, "erased 1 memory\n", "")
    assert (again.returncode, json.loads(again.stdout)) == (0, {"id": "green", "erased": True})
    assert sorted(ids(filled("list", "--json"))) == ["black", "house"]


def test_forget_forgets_all_that_are_there_and_names_those_that_are_not(filled: Run):
    done = filled("forget", "green", "nobody", "black", "green")
    again = filled("forget", "black", "--json")

    assert (done.returncode, done.stdout) == (1, "forgot 2 memories\n")
    assert done.stderr == "Error: there was no 'nobody'\n"
    assert (again.returncode, json.loads(again.stdout)) == (1, {"id": "black", "forgotten": False})
    assert ids(filled("list", "--json")) == ["house"]
    back = filled("update", "black", "--add-tag", "x")
    assert back.stderr == (
        "Error: memory 'black' was forgotten; to bring it back on purpose learn a text "
        "with --id black\n"
    )


# Checking and listing


def test_check_finds_a_memory_whole_or_says_what_is_wrong(filled: Run, tmp_path: Path):
    whole = filled("check")
    database = apsw.Connection(str(tmp_path / "memory.db"))
    database.execute(
        "DELETE FROM tag WHERE tag = 'green'; UPDATE digest_sum SET sum = zeroblob(16)"
    )
    database.close()
    damaged = filled("check")

    assert (whole.returncode, whole.stdout) == (0, "checked 3 memories, 0 wrong\n")
    assert damaged.returncode == 1
    assert "memory 'green': its tag rows are not what its state says\n" in damaged.stdout
    assert damaged.stderr == "Error: the memory is not whole; docs/cli.md says what helps\n"
    problems = json.loads(filled("check", "--json").stdout)["problems"]
    assert {problem["memory"] for problem in problems} == {"green", None}


def test_embedders_are_listed_with_what_installs_them(chrysalis: Run):
    found = {one["name"]: one for one in lines(chrysalis("embedders", "--json"))}

    assert found["minilm"] == {"name": "minilm", "installed": True, "install": None}
    assert found["ollama:MODEL"]["install"] == "pip install 'chrysalis-memory[ollama]'"
    assert re.search(r"hashing\[:DIMENSION\] +yes +–", chrysalis("embedders").stdout)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_what_a_shell_reads(chrysalis: Run, shell: str):
    done = chrysalis("completion", shell)

    assert done.returncode == 0
    assert f"_CHRYSALIS_COMPLETE={shell}_complete" in done.stdout


def test_a_shell_completes_commands_options_and_choices(chrysalis: Run, tmp_path: Path):
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("bash is not installed")
    (tmp_path / "chrysalis").write_text(
        f'#!/bin/sh\nexec "{sys.executable}" -m chrysalis_memory.cli "$@"\n'
    )
    (tmp_path / "chrysalis").chmod(0o755)
    (tmp_path / "completion").write_text(chrysalis("completion", "bash").stdout)
    script = (
        "source completion\n"
        'complete_one() { COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=()\n'
        '  _chrysalis_completion chrysalis; echo "${COMPREPLY[*]}"; }\n'
        "complete_one chrysalis re\ncomplete_one chrysalis list --min\n"
        "complete_one chrysalis recall x --mode s\n"
    )
    environment = programs.environment(tmp_path)
    environment["PATH"] = f"{tmp_path}{os.pathsep}{environment['PATH']}"
    done = subprocess.run(
        [bash, "-c", script], capture_output=True, text=True, cwd=tmp_path, env=environment,
        check=False,
    )  # fmt: skip

    assert done.stdout.splitlines() == [
        "recall reindex rekey related", "--min-importance --min-confidence", "semantic",
    ], done.stderr  # fmt: skip


# Settings


def test_options_win_over_the_environment_and_that_over_the_file(chrysalis: Run, tmp_path: Path):
    file = tmp_path / "config" / "chrysalis-memory" / "config.toml"
    file.parent.mkdir(parents=True)
    file.write_text('agent = "of-file"\npath = "beside.db"\nembedder = "hashing:64"\n')
    (tmp_path / "own.toml").write_text('agent = "own"\n')

    def held(*arguments: str, **more: str) -> tuple[str, str, int]:
        chrysalis("learn", "Tea", *arguments, **more)
        (found,) = lines(chrysalis("stats", "--json", *arguments, **more))
        return found["agent"], Path(found["path"]).name, found["dimension"]

    own = str(tmp_path / "own.toml")
    assert held() == ("of-file", "memory.db", 256)
    assert held(CHRYSALIS_AGENT="env", CHRYSALIS_CONFIG="") == ("env", "memory.db", 256)
    options = ("--agent", "a", "--db", "a.db", "--embedder", "hashing:128")
    assert held(*options, CHRYSALIS_AGENT="e") == ("a", "a.db", 128)
    assert held(CHRYSALIS_CONFIG=own, CHRYSALIS_PATH="own.db") == ("own", "own.db", 256)
    bare = {"cwd": tmp_path, "capture_output": True, "text": True, "check": True}
    surroundings = programs.environment(tmp_path) | {"XDG_CONFIG_HOME": str(tmp_path / "config")}
    del surroundings["CHRYSALIS_EMBEDDER"]
    subprocess.run([*programs.COMMAND, "learn", "Tea"], env=surroundings, **bare)
    done = subprocess.run([*programs.COMMAND, "stats", "--json"], env=surroundings, **bare)
    stats = json.loads(done.stdout)
    assert (stats["path"], stats["dimension"]) == (str(file.with_name("beside.db")), 64)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("embeder = 'x'", "own.toml: embeder: Extra inputs are not permitted"),
        ("timeout_seconds = 'long'", "own.toml: timeout_seconds: "),
        ("[weights]\nkeyword = 'x'", "own.toml: weights.keyword: "),
        ("agent = 7", "own.toml: agent: a name is a string"),
        ("agent = ", "own.toml is not TOML in UTF-8: "),
        (None, "there is no 'own.toml', which CHRYSALIS_CONFIG names"),
    ],
)
def test_a_wrong_setting_is_one_line_with_file_and_key(
    chrysalis: Run, tmp_path: Path, text: str | None, message: str
):
    if text is not None:
        (tmp_path / "own.toml").write_text(text)
    done = chrysalis("learn", "Tea", CHRYSALIS_CONFIG="own.toml")

    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert done.stderr.startswith("Error: ")
    assert message in done.stderr


def test_a_wrong_setting_of_the_environment_is_one_line_too(chrysalis: Run):
    done = chrysalis("learn", "Tea", CHRYSALIS_WEIGHTS="x")

    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "weights" in done.stderr


# Ending early


def test_output_that_nobody_reads_any_more_ends_the_command_quietly(filled: Run, tmp_path: Path):
    reading, writing = os.pipe()
    os.close(reading)
    for arguments in (["list"], ["list", "--json"], ["--help"], ["show", "green"]):
        done = subprocess.run(
            [*programs.COMMAND, *arguments], stdout=writing, stderr=subprocess.PIPE, cwd=tmp_path,
            env=programs.environment(tmp_path) | {"CHRYSALIS_PATH": "memory.db"}, check=False,
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (141, b"")
    os.close(writing)


def test_ctrl_c_ends_a_command_in_one_line(tmp_path: Path):
    with subprocess.Popen(
        [*programs.COMMAND, "learn", "-"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, cwd=tmp_path, env=programs.environment(tmp_path),
    ) as process:  # fmt: skip
        # A pipe that is full is being read: the command has begun.
        assert process.stdin is not None
        process.stdin.write(b"x" * (1 << 20))
        process.stdin.flush()
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=60)

    assert (process.returncode, output, errors) == (130, b"", b"Stopped\n")


# Importing


def conversations(count: int) -> list[dict[str, Any]]:
    """Return a ChatGPT export of conversations with 100 messages each."""
    made: list[dict[str, Any]] = []
    for number in range(count // 100):
        mapping: dict[str, Any] = {}
        for turn in range(100):
            content = {"content_type": "text", "parts": [f"Message {turn} of talk {number} on tea"]}
            role = "assistant" if turn % 2 else "user"
            message = {"author": {"role": role}, "content": content, "create_time": 1.7e9 + turn}
            parent = f"{number}-{turn - 1}" if turn else None
            mapping[f"{number}-{turn}"] = {"parent": parent, "message": message}
        made.append(
            {"id": f"talk-{number}", "title": f"Talk {number}", "mapping": mapping,
             "current_node": f"{number}-99"}
        )  # fmt: skip
    made[0]["mapping"]["0-7"]["message"]["content"]["parts"] = ["\ud800"]
    return made


def test_ten_thousand_messages_are_imported_with_progress_and_counted(tmp_path: Path):
    (tmp_path / "conversations.json").write_text(json.dumps(conversations(10_000)))
    # Not every write waits for the disk, which other tests keep busy.
    settings = programs.environment(tmp_path) | {"TERM": "xterm", "CHRYSALIS_SYNCHRONOUS": "NORMAL"}
    command = [*programs.COMMAND, "import", "conversations.json", "--db", "memory.db"]
    master, slave = pty.openpty()
    shown = b""
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=slave, cwd=tmp_path, env=settings
    ) as process:
        os.close(slave)
        while select.select([master], [], [], 240)[0]:
            try:
                shown += os.read(master, 65_536)
            except OSError:  # Linux says EIO where the other end has closed
                break
        assert process.stdout is not None
        output = process.stdout.read()
    os.close(master)
    again = subprocess.run(command, capture_output=True, cwd=tmp_path, env=settings, check=False)

    assert (process.returncode, output) == (1, b"learned 9,999, joined 0, refused 1\n")
    percentages = {int(number) for number in re.findall(rb"(\d+)%", shown)}
    assert max(percentages) == 100
    assert len(percentages) > 5
    assert b"conversations.json is read as chatgpt" in shown
    assert b"conversation 1, message '0-7': content" in b" ".join(shown.split())
    assert again.stdout == b"learned 0, joined 9,999, refused 1\n"


def test_an_import_says_what_it_took_the_file_for_and_keeps_what_is_asked(
    chrysalis: Run, tmp_path: Path
):
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.md").write_text("# Tea\n\nAt four.\n")
    done = chrysalis("import", "notes", "--tag", "old", "--namespace", "notes", "--json")
    again = chrysalis("import", "notes", "--tag", "old", "--namespace", "notes", "--format", "text")

    assert done.stderr == "notes is read as text\n"
    assert lines(done) == [{"format": "text", "learned": 1, "joined": 0, "refused": 0}]
    assert (again.stdout, again.stderr) == ("learned 0, joined 1, refused 0\n", "")
    (memory,) = lines(chrysalis("list", "--json"))
    assert (memory["content"], memory["tags"]) == ("Tea\n\nAt four.", ["old"])
    assert (memory["namespace"], memory["metadata"]) == (
        "notes", {"file": "a.md", "heading": "Tea"},
    )  # fmt: skip


def test_an_import_of_a_file_that_is_wrong_learns_nothing(chrysalis: Run, tmp_path: Path):
    (tmp_path / "all.jsonl").write_text('{"content": "a"}\nnope\n')
    done = chrysalis("import", "all.jsonl")

    assert (done.returncode, done.stdout) == (1, "")
    assert "Error: all.jsonl:2: not strict JSON" in done.stderr
    assert not (tmp_path / "memory.db").exists()


def test_what_is_merged_takes_no_tags(filled: Run):
    filled("export", "all.jsonl")
    done = filled("import", "all.jsonl", "--tag", "x")

    assert done.returncode == 2
    assert "leave --tag, --namespace and --source out" in done.stderr


# Sources


@pytest.fixture
def poisoned(filled: Run) -> Run:
    for text in ("Green tea is poison", "Tea is at nine"):
        assert filled("learn", text, "--source", "web:evil.example").returncode == 0
    return filled


def test_sources_are_named_listed_and_asked_for(poisoned: Run) -> None:
    listed = lines(poisoned("sources", "--json"))
    assert [(one["source"].split("@")[0], one["memories"]) for one in listed] == [
        ("default", 3), ("web:evil.example", 2),
    ]  # fmt: skip
    assert "web:evil.example" in poisoned("sources").stdout
    wanted = [m["content"] for m in lines(poisoned("list", "--source", "web:*", "--json"))]
    assert sorted(wanted) == ["Green tea is poison", "Tea is at nine"]
    assert set(ids(poisoned("list", "--no-source", "web:*", "--json"))) == {
        "green", "black", "house",
    }  # fmt: skip
    (one, *_) = lines(poisoned("list", "--source", "web:*", "--json"))
    shown = poisoned("show", one["id"]).stdout
    assert re.search(r"sources +web:evil.example +\n", shown)
    assert re.search(r"writers +default@", shown)


def test_recall_weighs_by_source_and_explains_it(poisoned: Run) -> None:
    asked = ("recall", "green tea is poison", "--no-track", "--mode", "keyword")
    first = lines(poisoned(*asked, "--json"))[0]
    weighed = lines(poisoned(*asked, "--json", "--trust", "web:*=0.1"))
    kept = lines(poisoned(*asked, "--json", "--trust", "web:*=0"))

    assert first["content"] == "Green tea is poison"
    assert weighed[0]["id"] == "green"
    assert weighed[-1]["explanation"]["trust"] == 0.1
    assert {one["source"].split("@")[0] for one in kept} == {"default"}
    assert "× trust" in poisoned(*asked, "--explain", "--trust", "web:*=0.1").stdout
    assert "× trust" not in poisoned(*asked, "--explain").stdout


def test_trust_may_stand_in_the_file_of_settings(poisoned: Run, tmp_path: Path) -> None:
    (tmp_path / "trust.toml").write_text('[trust]\n"web:*" = 0\n')
    found = poisoned("recall", "tea", "--json", CHRYSALIS_CONFIG=str(tmp_path / "trust.toml"))
    assert "web:evil.example" not in {one["source"] for one in lines(found)}
    (tmp_path / "trust.toml").write_text('[trust]\n"web:*" = 7\n')
    refused = poisoned("recall", "tea", CHRYSALIS_CONFIG=str(tmp_path / "trust.toml"))
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "trust" in refused.stderr


@pytest.mark.parametrize("trust", ["web:*", "web:*=much", "0.5"])
def test_trust_that_is_no_name_and_factor_is_refused(filled: Run, trust: str) -> None:
    done = filled("recall", "tea", "--trust", trust)
    assert (done.returncode, done.stdout) == (2, "")
    assert "NAME=FACTOR" in done.stderr


def test_purge_looks_first_and_then_forgets_for_good(poisoned: Run) -> None:
    looked = poisoned("purge", "--source", "web:evil*", "--dry-run")
    asked = poisoned("purge", "--source", "web:evil*")
    assert looked.stdout == "would forget 2 memories\n"
    assert (asked.returncode, asked.stdout) == (2, "")
    assert "--yes" in asked.stderr
    assert len(ids(poisoned("list", "--json"))) == 5

    assert poisoned("purge", "--source", "web:evil*", "--yes").stdout == "forgot 2 memories\n"
    assert set(ids(poisoned("list", "--json"))) == {"green", "black", "house"}
    assert lines(poisoned("purge", "--source", "web:evil*", "--yes", "--json")) == [
        {"dry_run": False, "forgotten": 0, "kept": [], "linking": 0, "written_into": 0}
    ]


def test_purge_says_what_stays(poisoned: Run) -> None:
    (one, *_) = lines(poisoned("list", "--source", "web:*", "--json"))
    assert poisoned("learn", one["content"], "--source", "user").returncode == 0
    assert poisoned("learn", "See there", "--related", one["id"]).returncode == 0

    kept = poisoned("purge", "--source", "web:*", "--yes").stdout
    assert kept == "forgot 1 memory\n1 memory kept: another source taught the same\n"
    both = poisoned("purge", "--source", "web:*", "--source", "user", "--yes").stdout
    assert both == "forgot 1 memory\n1 memory still linking to what is forgotten\n"


def test_what_is_imported_has_a_source(chrysalis: Run, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("Tea is at four\n")
    (tmp_path / "b.txt").write_text("Tea is at five\n")
    assert chrysalis("import", "a.txt").returncode == 0
    assert chrysalis("import", "b.txt", "--source", "mail:ann").returncode == 0
    listed = lines(chrysalis("sources", "--json"))
    assert [one["source"] for one in listed] == ["import:text", "mail:ann"]


def test_check_with_repair_mends_a_damaged_copy_without_an_embedder(filled: Run, tmp_path: Path):
    database = apsw.Connection(str(tmp_path / "memory.db"))
    database.execute("DELETE FROM tag; UPDATE memory SET importance = 7")
    database.close()
    (tmp_path / "copy.db").write_bytes((tmp_path / "memory.db").read_bytes())
    assert filled("check", "--db", "copy.db").returncode == 1

    (done,) = lines(filled("check", "--repair", "--json", "--db", "copy.db"))
    assert (done["problems"], done["mended"] > 0, done["set_apart"]) == ([], True, [])
    assert filled("check", "--db", "copy.db").returncode == 0
