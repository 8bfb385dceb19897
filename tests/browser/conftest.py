"""The explorer page in a real browser, served by the real server from a real file.

Every page that a test opens is watched: nothing may be asked of any place but the server, and
nothing may be said on the console, unless the test names what it expects there.
"""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from chrysalis_memory import AgentMemory
from tests.served import served

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CHROMIUM_ARGUMENTS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # No other machine has a name here.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)
NAMES = ("chromium", "chromium-browser", "google-chrome")

MEMORIES: list[dict[str, Any]] = [
    {"id": "cat", "content": "The cat slept on the sofa all afternoon", "tags": ["pets", "home"]},
    {"id": "dog", "content": "The dog chased a cat around the garden", "tags": ["pets"],
     "importance": 0.1, "memory_type": "episodic", "related": ["cat", "not-here"]},
    {"id": "train", "content": "The train to Gent leaves at nine", "tags": ["travel"],
     "importance": 0.9, "confidence": 0.2, "memory_type": "procedural", "parents": ["cat"]},
    {"id": "tea", "content": "Tea is at four", "namespace": "user/mara", "memory_type": "working"},
    {"id": "old", "content": "The old cat is called Mochi", "tags": ["pets", "archive"]},
]  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs a browser, so that `make test` leaves it to `make test-browser`."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker("browser")


@pytest.fixture(scope="session")
def chromium() -> str:
    """Where the browser is."""
    found = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        pytest.skip("no chromium here: apt-get install chromium, or name one in CHROMIUM")
    return found


@pytest.fixture(scope="session")
def browser(chromium: str) -> "Iterator[Browser]":
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium, args=[*CHROMIUM_ARGUMENTS])
        yield started
        started.close()


class Memory:
    """A memory that is served, and the API beside the page."""

    def __init__(self, url: str, token: str | None) -> None:
        self.url = url
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        self._client = httpx.Client(base_url=url, headers=headers, trust_env=False)

    def learn(self, *memories: dict[str, Any]) -> list[str]:
        answer = self._client.post("/v1/memories", json={"memories": memories})
        return answer.raise_for_status().json()["ids"]

    def get(self, memory_id: str) -> dict[str, Any]:
        return self._client.get(f"/v1/memories/{memory_id}").raise_for_status().json()

    def change(self, memory_id: str, **changes: Any) -> None:
        self._client.patch(f"/v1/memories/{memory_id}", json=changes).raise_for_status()

    def status(self, memory_id: str) -> int:
        return self._client.get(f"/v1/memories/{memory_id}").status_code

    def recall(self, query: str, **options: Any) -> list[dict[str, Any]]:
        body = {"query": query, "track": False} | options
        return self._client.post("/v1/recall", json=body).raise_for_status().json()["memories"]

    def close(self) -> None:
        self._client.close()


@pytest.fixture
def serve_memory(tmp_path: Path) -> Iterator[Callable[..., Memory]]:
    """Serve a new file: ``serve_memory(token=..., embedder=...)``."""
    with ExitStack() as stack:

        def start(
            *, token: str | None = None, embedder: str = "hashing", **settings: Any
        ) -> Memory:
            path = tmp_path / "ada.db"
            agent = AgentMemory(
                "ada", path=path, embedder=embedder, synchronous="NORMAL", **settings
            )
            memory = Memory(stack.enter_context(served(agent, token=token)), token)
            stack.callback(memory.close)
            return memory

        yield start


@pytest.fixture
def memory(serve_memory: Callable[..., Memory]) -> Memory:
    """A served memory that knows a few things."""
    started = serve_memory()
    started.learn(*MEMORIES)
    started.change("old", archived=True)
    return started


class Watch:
    """What pages asked for and said."""

    def __init__(self) -> None:
        self.requests: list[str] = []
        self.said: list[str] = []
        self.expected: tuple[str, ...] = ()
        """Beginnings of what may be said on the console, because a test provokes it."""

    def watch(self, page: "Page") -> None:
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("websocket", lambda socket: self.requests.append(socket.url))
        page.on("console", lambda line: self.said.append(line.text))
        page.on("pageerror", lambda error: self.said.append(str(error)))

    def unexpected(self) -> list[str]:
        return [line for line in self.said if not line.startswith(self.expected or "\0")]

    def elsewhere(self, url: str) -> list[str]:
        return [one for one in self.requests if not one.startswith((f"{url}/", "data:"))]


@pytest.fixture
def watch() -> Watch:
    return Watch()


@pytest.fixture
def open_page(browser: "Browser", watch: Watch) -> "Iterator[Callable[..., Page]]":
    """Open a page in a context of its own: ``open_page(memory, "#/map", color_scheme="dark")``."""
    urls: list[str] = []
    with ExitStack() as stack:

        def start(memory: Memory, fragment: str = "#/", **options: Any) -> "Page":
            context = browser.new_context(
                **({"locale": "en-GB", "timezone_id": "Europe/Brussels"} | options)
            )
            context.set_default_timeout(15_000)
            stack.callback(context.close)
            page = context.new_page()
            watch.watch(page)
            urls.append(memory.url)
            page.goto(f"{memory.url}/{fragment}")
            return page

        yield start
    assert [] == watch.unexpected()
    assert [] == [one for url in set(urls) for one in watch.elsewhere(url)]
    assert watch.requests, "no request was seen, so the watch saw nothing"


@pytest.fixture
def page(memory: Memory, open_page: "Callable[..., Page]") -> "Page":
    """The page on the served memory, as it first shows."""
    return shown(open_page(memory))


def shown(page: "Page") -> "Page":
    """Wait until a view is there, and the line at its foot."""
    page.wait_for_selector("main:not([aria-busy]) h1")
    page.wait_for_selector("#store:not(:empty)")
    return page


def texts(page: "Page") -> list[str]:
    """Return the memories in the list, in order."""
    return page.locator(".card-link").all_inner_texts()


def expect(found: Any) -> Any:
    """Wait until something is as it should be, or fail."""
    from playwright.sync_api import expect as expecting  # not there where no browser is tested

    return expecting(found)
