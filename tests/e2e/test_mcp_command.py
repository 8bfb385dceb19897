"""``chrysalis mcp``, as a host starts it: a real process that is spoken to in lines of JSON."""

import json
import resource
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from chrysalis_memory import MemoryStorage
from tests.e2e import programs

HELLO = {
    "jsonrpc": "2.0", "id": 1, "method": "initialize",
    "params": {"protocolVersion": "2025-11-25", "capabilities": {},
               "clientInfo": {"name": "test", "version": "1"}},
}  # fmt: skip
READY = {"jsonrpc": "2.0", "method": "notifications/initialized"}


def start(folder: Path, *arguments: str, **more: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [*programs.COMMAND, "mcp", *arguments],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        encoding="utf-8", cwd=folder, env=programs.environment(folder) | more,
    )  # fmt: skip


def tell(host: "subprocess.Popen[str]", *messages: dict[str, Any]) -> None:
    assert host.stdin is not None
    for message in messages:
        host.stdin.write(json.dumps(message) + "\n")
    host.stdin.flush()


def answer(host: "subprocess.Popen[str]") -> dict[str, Any]:
    assert host.stdout is not None
    return json.loads(host.stdout.readline())


def call(number: int, tool: str, **arguments: Any) -> dict[str, Any]:
    parameters = {"name": tool, "arguments": arguments}
    return {"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": parameters}


def test_it_answers_in_under_two_seconds_with_the_model_that_ships(tmp_path: Path):
    begun = resource.getrusage(resource.RUSAGE_CHILDREN)
    with start(tmp_path, "--embedder", "minilm") as host:
        tell(host, HELLO)
        hello = answer(host)
        host.communicate()
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)

    assert hello["result"]["serverInfo"]["name"] == "chrysalis-memory"
    # Seconds of its own, for what else the machine does is not its fault. They end with the
    # process, so they are more than the answer took.
    assert ended.ru_utime - begun.ru_utime + ended.ru_stime - begun.ru_stime < 2


def test_the_model_that_ships_is_used_once_it_is_needed(tmp_path: Path):
    with start(tmp_path, "--embedder", "minilm") as host:
        learn = call(2, "learn", content="The cat slept on the sofa")
        recall = call(3, "recall", query="Where did the pet take its nap?")
        tell(host, HELLO, READY, learn)
        answer(host), answer(host)
        tell(host, recall)
        found = answer(host)["result"]["structuredContent"]
        host.communicate()

    assert [one["content"] for one in found["memories"]] == ["The cat slept on the sofa"]
    assert "words alone" not in found["notice"]


def test_standard_output_carries_messages_and_nothing_else(tmp_path: Path):
    # An embedder that is away is warned of, which goes to standard error.
    with start(tmp_path, "--embedder", "ollama:none", OLLAMA_HOST="127.0.0.1:1") as host:
        tell(host, HELLO, READY, call(2, "learn", content="Tea"), call(3, "get", memory_id="x"))
        answers = [answer(host) for _ in range(3)]
        output, errors = host.communicate()

    assert {one["id"] for one in answers} == {1, 2, 3}
    assert (host.returncode, output) == (0, "")
    assert "until the embedder answers" in errors
    assert "Traceback" not in errors


def test_it_ends_with_its_input_and_keeps_what_it_learned(tmp_path: Path):
    with start(tmp_path, "--db", "m.db", "--agent", "ada") as host:
        tell(host, HELLO, READY, call(2, "learn", content="Tea is at four"))
        answer(host), answer(host)
        output, errors = host.communicate()

    assert (host.returncode, output, errors) == (0, "", "")
    with MemoryStorage(tmp_path / "m.db") as storage:
        (memory,) = storage.all()
    assert (memory.content, memory.source_instance.split("@")[0]) == ("Tea is at four", "ada")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_when_told_while_its_input_is_open(tmp_path: Path, number: signal.Signals):
    with start(tmp_path, "--db", "m.db") as host:
        tell(host, HELLO, READY, call(2, "learn", content="Tea is at four"))
        answer(host), answer(host)
        tell(host, call(3, "recall", query="tea"))
        answer(host)
        host.send_signal(number)
        host.wait(20)
        assert host.stderr is not None
        assert (host.returncode, host.stderr.read()) == (0, "")

    with MemoryStorage(tmp_path / "m.db") as storage:
        assert storage.all()[0].get_access_count() == 1


def test_a_path_that_is_no_memory_is_told_by_the_tools(tmp_path: Path):
    with start(tmp_path, "--db", ".") as host:
        tell(host, HELLO, READY, call(2, "stats"))
        hello, refused = answer(host), answer(host)
        _, errors = host.communicate()

    assert "result" in hello
    assert refused["result"]["isError"] is True
    assert refused["result"]["content"][0]["text"] == "path '.' names no file"
    assert "ERROR chrysalis_memory: the memory cannot be opened" in errors


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--port", "1"], 2, "Error: --port is for --http; add it, or leave --port out"),
        (["--token", "x"], 2, "Error: --token is for --http; add it, or leave --token out"),
        (["--compat", "other"], 2, "'other' is not 'knowledge-graph'"),
        (["--embedder", "none"], 1, "Error: "),
        (["--http", "--token", "a b"], 1, "a token is one or more visible ASCII characters"),
    ],
)
def test_what_cannot_be_served_is_refused_at_once(
    tmp_path: Path, arguments: list[str], code: int, said: str
):
    done = programs.run(tmp_path, "mcp", *arguments)

    assert (done.returncode, done.stdout) == (code, "")
    assert said in done.stderr.splitlines()[-1]


def test_a_token_in_the_environment_does_not_hinder_a_host(tmp_path: Path):
    with start(tmp_path, CHRYSALIS_TOKEN="hush") as host:
        tell(host, HELLO)
        assert "result" in answer(host)
        host.communicate()


def test_without_the_sdk_it_says_what_to_install(tmp_path: Path):
    (tmp_path / "mcp.py").write_text("raise ImportError(name='mcp')")
    done = programs.run(tmp_path, "mcp", PYTHONPATH=f"{tmp_path}:{programs.ROOT}")

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "Error: an MCP server needs the module 'mcp', which is not installed: "
        "pip install 'chrysalis-memory[mcp]'\n"
    )
