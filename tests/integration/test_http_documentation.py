"""docs/http.md names the routes there are, and its commands do what they say."""

import re
import shlex
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx

from chrysalis_memory import AgentMemory
from tests.served import served

PAGE = (Path(__file__).parents[2] / "docs" / "http.md").read_text()
TOKEN = "correct-horse"


def agent(tmp_path: Path) -> AgentMemory:
    return AgentMemory("ada", path=tmp_path / "memory.db", embedder="hashing")


def asked(line: str) -> tuple[str, str, dict[str, Any]]:
    """Return what a curl command asks: method, path with query, and the rest."""
    method, target, headers, content = "GET", "", {}, None
    words = iter(shlex.split(line)[1:])
    for word in words:
        match word:
            case "-H":
                name, _, value = next(words).partition(": ")
                headers[name] = value.replace("$CHRYSALIS_TOKEN", TOKEN)
            case "-X":
                method = next(words)
            case "--json":
                content = next(words)
                headers["Content-Type"] = "application/json"
                method = "POST" if method == "GET" else method
            case _:
                assert word.startswith("http://127.0.0.1:8420/")
                parts = urlsplit(word)
                target = f"{parts.path}?{parts.query}" if parts.query else parts.path
    return method, target, {"headers": headers, "content": content}


def test_every_command_is_answered(tmp_path: Path):
    lines = re.findall(r"^curl .*$", PAGE, re.MULTILINE)
    with served(agent(tmp_path), token=TOKEN) as url:
        answers = {}
        for line in lines:
            method, target, options = asked(line)
            answers[method, target] = httpx.request(method, url + target, **options)

    assert len(lines) == len(answers) == 9
    assert {one: answer.status_code for one, answer in answers.items()} == {
        one: 201 if one == ("POST", "/v1/memories") else 200 for one in answers
    }
    (found,) = answers["POST", "/v1/recall"].json()["memories"]
    assert found["content"] == "Tea is at four"
    assert answers["PATCH", "/v1/memories/tea"].json()["importance"] == 0.9
    assert answers["DELETE", "/v1/memories/tea"].json() == {"forgotten": True}


def test_the_table_of_routes_has_every_route_and_no_other(tmp_path: Path):
    documented = re.findall(r"^\| `([A-Z]+) (/v1/[^`]+)` \|", PAGE, re.MULTILINE)
    with served(agent(tmp_path)) as url:
        described = httpx.get(f"{url}/v1/openapi.json").json()["paths"]

    assert sorted(documented) == sorted(
        (method.upper(), path) for path, methods in described.items() for method in methods
    )
