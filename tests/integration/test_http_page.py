"""The files of the explorer page are served, and nothing else of the machine."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from chrysalis_memory import AgentMemory
from chrysalis_memory.servers import pages
from tests.served import served

POLICY = {
    "default-src 'none'", "script-src 'self'", "style-src 'self'", "img-src 'self' data:",
    "connect-src 'self'", "base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'",
}  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "explorer"
    (folder / "inner").mkdir(parents=True)
    (tmp_path / "secret.js").write_text("secret")
    (folder / "inner" / "hidden.js").write_text("secret")
    (folder / "notes.txt").write_text("secret")
    for name in ("index.html", "page.js", "page.css", "icon.svg"):
        (folder / name).write_text(f"the {name}")
    monkeypatch.setattr(pages, "FOLDER", folder)
    return folder


@pytest.fixture
def url(tmp_path: Path, folder: Path) -> Iterator[str]:
    memory = AgentMemory("ada", path=tmp_path / "memory.db", embedder="hashing")
    with served(memory, token="correct-horse") as url:
        yield url


@pytest.mark.parametrize(
    ("path", "kind", "text"),
    [
        ("/", "text/html; charset=utf-8", "the index.html"),
        ("/explorer/index.html", "text/html; charset=utf-8", "the index.html"),
        ("/explorer/page.js", "text/javascript; charset=utf-8", "the page.js"),
        ("/explorer/page.css", "text/css; charset=utf-8", "the page.css"),
        ("/explorer/icon.svg", "image/svg+xml", "the icon.svg"),
    ],
)
def test_a_file_is_served_without_a_token_under_a_strict_policy(
    url: str, path: str, kind: str, text: str
):
    answer = httpx.get(url + path)

    assert (answer.status_code, answer.text) == (200, text)
    assert answer.headers["content-type"] == kind
    assert set(answer.headers["content-security-policy"].split("; ")) == POLICY
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"


@pytest.mark.parametrize(
    "path",
    [
        "/explorer/none.js", "/explorer/", "/explorer/notes.txt", "/explorer/inner",
        "/explorer/inner/hidden.js", "/explorer/..%2fsecret.js", "/explorer/%2e%2e/secret.js",
        "/explorer//page.js", "/explorer/inner%2fhidden.js",
        "/explorer/page.js%00", "/explorer/..%5csecret.js",
    ],
)  # fmt: skip
def test_nothing_else_is_served(url: str, path: str):
    raw = httpx.URL(url).copy_with(raw_path=path.encode())
    answer = httpx.get(raw)

    assert answer.status_code == 404
    assert "secret" not in answer.text.replace("secret.js", "")


def test_a_file_that_is_known_is_not_sent_again_until_it_changes(url: str, folder: Path):
    first = httpx.get(f"{url}/explorer/page.js")
    known = {"if-none-match": first.headers["etag"]}
    again = httpx.get(f"{url}/explorer/page.js", headers=known)
    (folder / "page.js").write_text("changed")
    changed = httpx.get(f"{url}/explorer/page.js", headers=known)

    assert first.headers["cache-control"] == "no-cache"
    assert (again.status_code, again.text) == (304, "")
    assert (changed.status_code, changed.text) == (200, "changed")


def test_another_origin_may_not_load_it(url: str):
    assert httpx.get(url, headers={"origin": "http://evil.example"}).status_code == 403
