"""Take the pictures of the explorer page that docs/explorer.md shows.

Needs what `make test-browser` installs. The memory is the conversation that ships with the
demonstration, learned on its days and edited on a second replica::

    python scripts/screenshots.py [FOLDER]
"""

import asyncio
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

from playwright.async_api import Browser, async_playwright

from chrysalis_memory import AgentMemory, HybridLogicalClock, MemoryDocument
from chrysalis_memory.demo.conversation import conversation
from chrysalis_memory.servers.http import serve

CHROMIUM = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
WIDE = {"width": 1160, "height": 860}
NARROW = {"width": 360, "height": 760}
QUESTION = "Where does the cat sleep?"


def dated() -> Iterator[MemoryDocument]:
    """Yield the conversation as documents that were written on its days."""
    day, minutes = "", 0
    for new in conversation():
        own_day = new.episode or new.evidence[0].rpartition(" ")[2]
        day, minutes = own_day, 0 if own_day != day else minutes + 4
        moment = datetime.fromisoformat(day).replace(hour=9, tzinfo=UTC)
        stamp = int((moment + timedelta(minutes=minutes)).timestamp() * 1_000_000)
        clock = HybridLogicalClock(lambda stamp=stamp: stamp)
        document = MemoryDocument(
            new.derived_id(), new.content, new.memory_type, "ada@laptop", clock=clock
        )
        if new.episode is not None:
            document.set_episode(new.episode, new.position)
        if new.importance is not None:
            document.set_importance(new.importance)
        if new.metadata:
            document.set_metadata(new.metadata)
        for tag in new.tags:
            document.add_tag(tag)
        for item in new.evidence:
            document.add_evidence(item)
        yield document


async def fill(memory: AgentMemory, folder: Path) -> str:
    """Learn the conversation, sync it with a second replica, and return an edited memory's id."""
    memory.storage.merge(list(dated()))
    await memory.reindex()
    edited = (await memory.find(tags_any=["preference"]))[1].id
    async with AgentMemory("bo", path=folder / "phone.db", embedder="minilm") as other:
        await other.sync(folder / "ada.db")
        turn = (await other.recall("bullet points, no wall of prose", k=1, memory_type="episodic"))[
            0
        ]
        await other.update(edited, add_tags=["style"], importance=0.8, related=[turn.id])
    await memory.sync(folder / "phone.db")
    for _ in range(4):
        await memory.recall(QUESTION, k=2)
    return edited


async def take(browser: Browser, url: str, edited: str, folder: Path) -> None:
    """Take every picture."""
    pictures = [
        ("explorer-search", f"#/?q={quote(QUESTION)}", WIDE, "light"),
        ("explorer-search-dark", f"#/?q={quote(QUESTION)}", WIDE, "dark"),
        ("explorer-memory", f"#/memory/{edited}", WIDE, "light"),
        ("explorer-map", "#/map?colour=tag", WIDE, "light"),
        ("explorer-timeline", "#/timeline", WIDE, "light"),
        ("explorer-replicas", "#/replicas", WIDE, "light"),
        ("explorer-narrow", f"#/?q={quote(QUESTION)}", NARROW, "light"),
    ]
    for name, fragment, size, scheme in pictures:
        context: dict[str, Any] = {"viewport": size, "color_scheme": scheme, "locale": "en-GB"}
        page = await browser.new_page(**context)
        await page.goto(f"{url}/{fragment}")
        await page.wait_for_selector("main:not([aria-busy]) h1")
        await page.wait_for_selector("#store:not(:empty)")
        if name == "explorer-search":
            await page.locator(".why summary").first.click()
        if name == "explorer-map":
            await page.locator(".dot").nth(5).hover()
        await page.screenshot(path=folder / f"{name}.png")
        await page.close()
        print(folder / f"{name}.png")


async def main(folder: Path, chromium: str) -> None:
    """Serve the memory, and take the pictures."""
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(temporary)
        async with AgentMemory("ada", path=place / "ada.db", embedder="minilm") as memory:
            edited = await fill(memory, place)
            url: asyncio.Future[str] = asyncio.get_running_loop().create_future()
            serving = asyncio.create_task(serve(memory, port=0, ready=url.set_result))
            async with async_playwright() as playwright:
                browser = await playwright.chromium.launch(
                    executable_path=chromium, args=[*CHROMIUM]
                )
                await take(browser, await url, edited, folder)
                await browser.close()
            serving.cancel()
            await asyncio.gather(serving, return_exceptions=True)


if __name__ == "__main__":
    found = os.environ.get("CHROMIUM") or shutil.which("chromium")
    if found is None:
        sys.exit("no chromium: apt-get install chromium, or name one in CHROMIUM")
    images = Path(sys.argv[1] if len(sys.argv) > 1 else "docs/images")
    images.mkdir(parents=True, exist_ok=True)
    asyncio.run(main(images, found))
