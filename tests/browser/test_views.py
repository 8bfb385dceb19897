"""The map, the timeline and the replicas."""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from chrysalis_memory import HybridLogicalClock, MemoryDocument, MemoryStorage
from tests.browser.conftest import Memory, expect, shown, texts

if TYPE_CHECKING:
    from playwright.sync_api import Page


def test_the_map_draws_each_memory_inside_of_it_in_the_colour_of_its_type(
    memory: Memory, open_page: "Callable[..., Page]"
):
    page = shown(open_page(memory, "#/map"))
    dots = page.locator(".dot")
    expect(dots).to_have_count(4)
    plane = page.locator(".plane").bounding_box()
    boxes = [dot.bounding_box() for dot in dots.all()]
    for box in boxes:
        assert plane["x"] <= box["x"] <= plane["x"] + plane["width"] - box["width"]
        assert plane["y"] <= box["y"] <= plane["y"] + plane["height"] - box["height"]
    assert 4 == len({(box["x"], box["y"]) for box in boxes})
    colours = [dot.evaluate("(dot) => getComputedStyle(dot).fill") for dot in dots.all()]
    assert 4 == len(set(colours))
    surface = page.locator(".plane").evaluate("(plane) => getComputedStyle(plane).backgroundColor")
    assert surface not in colours


def test_the_map_is_coloured_by_tag_and_by_time_and_shows_one_group_alone(
    memory: Memory, open_page: "Callable[..., Page]"
):
    page = shown(open_page(memory, "#/map"))
    page.get_by_role("radio", name="tag").check()
    expect(page.locator(".legend")).to_contain_text("pets (2)")
    assert page.url.endswith("#/map?colour=tag")
    page.get_by_role("button", name="pets").click()
    expect(page.locator(".dot.faint")).to_have_count(2)
    page.get_by_role("button", name="pets").click()
    expect(page.locator(".dot.faint")).to_have_count(0)
    page.get_by_role("radio", name="time").check()
    expect(page.locator(".dot[class*=time-]")).to_have_count(4)


def test_the_map_is_walked_through_and_opened_by_keys(
    memory: Memory, open_page: "Callable[..., Page]"
):
    page = shown(open_page(memory, "#/map"))
    dots = page.locator(".dot")
    places = [
        (float(dot.get_attribute("cx")), float(dot.get_attribute("cy"))) for dot in dots.all()
    ]

    def reached(key: str) -> int:
        page.keyboard.press(key)
        expect(page.locator(".tip")).to_be_visible()
        return int(page.evaluate("document.activeElement.dataset.index"))

    dots.first.focus()
    assert [1, 2, 3, 3, 2] == [reached("PageDown") for _ in range(4)] + [reached("PageUp")]
    assert [0, 3] == [reached("Home"), reached("End")]
    # From the point furthest to one side, the opposite key leads to another, and none leads on.
    for axis, back, on in ((0, "ArrowRight", "ArrowLeft"), (1, "ArrowDown", "ArrowUp")):
        first = min(range(4), key=lambda index, axis=axis: places[index][axis])
        dots.nth(first).focus()
        assert first == reached(on)
        assert places[first][axis] < places[reached(back)][axis]
    assert 1 == page.locator(".dot[tabindex='0']").count()
    page.keyboard.press("Escape")
    expect(page.locator(".tip")).not_to_be_visible()
    page.keyboard.press("End")
    label = page.evaluate("document.activeElement.getAttribute('aria-label')")
    page.keyboard.press("Enter")
    expect(page.locator(".content")).to_be_visible()
    assert label.startswith(page.locator(".content").inner_text())


def test_the_map_is_enlarged_and_dragged(memory: Memory, open_page: "Callable[..., Page]"):
    page = shown(open_page(memory, "#/map"))

    def spread() -> float:
        xs = [float(dot.get_attribute("cx") or 0) for dot in page.locator(".dot").all()]
        return max(xs) - min(xs)

    before = spread()
    page.get_by_role("button", name="Enlarge").click()
    assert 1.5 * before == pytest.approx(spread(), abs=0.5)
    first = float(page.locator(".dot").first.get_attribute("cx") or 0)
    box = page.locator(".plane").bounding_box()
    page.mouse.move(box["x"] + 20, box["y"] + 20)
    page.mouse.down()
    page.mouse.move(box["x"] + 120, box["y"] + 20, steps=4)
    page.mouse.up()
    assert first + 100 == pytest.approx(
        float(page.locator(".dot").first.get_attribute("cx") or 0), abs=1
    )
    page.get_by_role("button", name="Show all").click()
    assert before == pytest.approx(spread(), abs=0.5)


def test_the_map_keeps_to_the_filters(memory: Memory, open_page: "Callable[..., Page]"):
    page = shown(open_page(memory, "#/map?tags_all=pets"))
    expect(page.locator(".dot")).to_have_count(2)
    page.get_by_label("archived").check()
    expect(page.locator(".dot")).to_have_count(3)
    page.get_by_label("working").check()
    expect(page.locator(".count")).to_have_text("No memory that matches has a vector yet.")


def test_the_timeline_counts_memories_and_a_bar_shows_those_of_its_time(
    memory: Memory, open_page: "Callable[..., Page]"
):
    page = shown(open_page(memory, "#/timeline"))
    expect(page.locator(".count")).to_contain_text("4 memories, by hour")
    bars = page.locator(".column")
    labels = [bar.get_attribute("aria-label") for bar in bars.all()]
    assert 4 == sum(int(label.rpartition(": ")[2].split()[0]) for label in labels)
    bars.last.click()
    expect(bars.last).to_have_attribute("aria-pressed", "true")
    expect(page.locator("#span-title")).to_contain_text("Learned then")
    assert "created_from=" in page.url
    number = int(page.locator("#span-title").inner_text().split()[2])
    assert number == len(texts(page))
    expect(bars.last).to_be_focused()
    bars.last.click()
    expect(page.locator("#span-title")).to_have_text("Newest")


def learn_at(folder: Path, moments: list[str]) -> None:
    """Write memories of other times into the file that will be served."""
    with MemoryStorage(folder / "ada.db", "ada") as storage:
        for moment in moments:
            stamp = int(datetime.fromisoformat(moment).timestamp() * 1_000_000)
            clock = HybridLogicalClock(lambda stamp=stamp: stamp)
            storage.put(MemoryDocument(moment, f"Learned {moment}", None, "bo", clock=clock))


def test_long_times_are_counted_by_month_and_coloured_by_fifths(
    serve_memory: "Callable[..., Memory]", open_page: "Callable[..., Page]", tmp_path: Path
):
    moments = [
        "2024-01-15T12:00Z",
        "2024-02-01T00:00+01:00",
        "2024-02-20T12:00Z",
        "2025-06-01T12:00Z",
    ]
    learn_at(tmp_path, moments)
    memory = serve_memory()
    page = shown(open_page(memory, "#/timeline"))
    expect(page.locator(".count")).to_contain_text("4 memories, by month")
    expect(page.locator(".column")).to_have_count(18)
    expect(page.locator(".axis")).to_have_text("January 2024June 2025")
    # A month begins when it begins where the reader is.
    page.get_by_role("button", name="February 2024: 2 memories").click()
    expect(page.locator("#span-title")).to_have_text("Learned then: 2 memories")
    assert [f"Learned {one}" for one in (moments[2], moments[1])] == texts(page)
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Enter")
    expect(page.locator("#span-title")).to_have_text("Learned then: 1 memory")
    page.get_by_role("link", name="Map").click()
    expect(page.get_by_role("heading", name="Map")).to_be_visible()
    for _ in range(40):  # vectors of what was there before are made in the background
        if len(moments) == page.locator(".dot").count():
            break
        shown(page.reload() and page)
    page.get_by_role("radio", name="time").check()
    expect(page.locator(".dot.time-0")).to_have_count(3)
    expect(page.locator(".dot.time-4")).to_have_count(1)


def test_the_timeline_is_empty_where_nothing_matches(
    memory: Memory, open_page: "Callable[..., Page]"
):
    page = shown(open_page(memory, "#/timeline?tags_all=nobody"))
    expect(page.locator(".count")).to_have_text("Nothing matches.")


def test_replicas_show_this_store_and_what_syncs_came_to(
    serve_memory: "Callable[..., Memory]", open_page: "Callable[..., Page]", tmp_path: Path
):
    (tmp_path / "shared").mkdir()
    absent = "http://127.0.0.1:9/"
    memory = serve_memory(sync_with=(f"folder:{tmp_path / 'shared'}", absent))
    page = shown(open_page(memory, "#/replicas"))
    expect(page.locator("main")).to_contain_text("ada")
    for _ in range(40):  # both are tried in the background
        if page.locator(".sync-failed").count() and page.locator(".sync-ok").count() == 1:
            break
        shown(page.reload() and page)
    card = page.locator(".card").filter(has_text="127.0.0.1:9")
    expect(card).to_contain_text("failed")
    expect(page.locator(".card").filter(has_text="shared")).to_contain_text("ok")
    expect(page.get_by_text("Nothing. Memories that were stamped")).to_be_visible()
