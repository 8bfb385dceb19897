"""Everybody can use the page: by keys, by ear, in both lights, on a small screen."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.browser.conftest import Memory, Watch, expect, shown, texts

if TYPE_CHECKING:
    from playwright.sync_api import Page


def no_act(_: "Page") -> None:
    return


def explain(page: "Page") -> None:
    page.get_by_text("Why").first.click()


def edit(page: "Page") -> None:
    page.get_by_role("button", name="Edit").click()


def ask_to_forget(page: "Page") -> None:
    page.get_by_role("button", name="Forget…").click()


def reach_a_point(page: "Page") -> None:
    page.locator(".dot").first.focus()


def choose_a_bar(page: "Page") -> None:
    page.locator(".column").last.click()
    expect(page.locator("#span-title")).to_contain_text("Learned then")


def search_for_nothing(page: "Page") -> None:
    page.context.set_offline(True)
    page.get_by_role("searchbox").fill("cat")
    expect(page.locator(".count").get_by_role("alert")).to_be_visible()


VIEWS: dict[str, tuple[str, Callable[["Page"], None]]] = {
    "list": ("#/", no_act),
    "results": ("#/?q=cat+dog", explain),
    "filters": ("#/?tags_all=pets&include_archived=true", no_act),
    "memory": ("#/memory/dog", no_act),
    "edit": ("#/memory/dog", edit),
    "forget": ("#/memory/dog", ask_to_forget),
    "map": ("#/map", reach_a_point),
    "map-by-tag": ("#/map?colour=tag", no_act),
    "map-by-time": ("#/map?colour=time", no_act),
    "timeline": ("#/timeline", choose_a_bar),
    "replicas": ("#/replicas", no_act),
    "learn": ("#/learn", no_act),
    "absent": ("#/memory/nobody", no_act),
    "failed": ("#/", search_for_nothing),
}
PROVOKED = (
    "Failed to load resource: the server responded with a status of 404",
    "Failed to load resource: net::ERR_INTERNET_DISCONNECTED",
)


@pytest.fixture(scope="session")
def axe() -> str:
    import axe_playwright_python

    source = Path(axe_playwright_python.__file__).with_name("axe.min.js")
    return source.read_text(encoding="utf-8")


def go(page: "Page", memory: Memory, fragment: str) -> None:
    page.context.set_offline(False)
    page.goto("about:blank")
    page.goto(f"{memory.url}/{fragment}")
    shown(page)


def violations(page: "Page", axe: str) -> list[str]:
    page.evaluate(axe)
    found: list[dict[str, Any]] = page.evaluate("() => axe.run()")["violations"]
    return [
        f"{one['impact']}: {one['id']}: {node['html'][:160]} ({node['failureSummary'][:300]})"
        for one in found
        if one["impact"] in ("serious", "critical")
        for node in one["nodes"]
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious_in_any_view(
    memory: Memory, open_page: "Callable[..., Page]", watch: Watch, axe: str, scheme: str
):
    watch.expected = PROVOKED
    page = open_page(memory, color_scheme=scheme, reduced_motion="reduce")
    found = {}
    for name, (fragment, act) in VIEWS.items():
        go(page, memory, fragment)
        act(page)
        found[name] = violations(page, axe)
    assert {name: [] for name in VIEWS} == found


def test_axe_finds_nothing_serious_where_a_token_is_asked_for(
    serve_memory: Callable[..., Memory], open_page: "Callable[..., Page]", watch: Watch, axe: str
):
    watch.expected = ("Failed to load resource: the server responded with a status of 401",)
    page = open_page(serve_memory(token="right-token"))
    expect(page.get_by_role("dialog")).to_be_visible()
    assert [] == violations(page, axe)


def test_axe_would_find_what_is_wrong(page: "Page", axe: str):
    page.evaluate("document.getElementById('query').labels[0].remove()")
    page.evaluate("document.getElementById('query').removeAttribute('placeholder')")
    assert [one for one in violations(page, axe) if ": label: " in one]


def test_a_narrow_screen_scrolls_in_one_direction_only(
    memory: Memory, open_page: "Callable[..., Page]", watch: Watch
):
    watch.expected = PROVOKED
    long = "Donaudampfschifffahrtsgesellschaft" * 8
    lists = {name: [f"{long} too"] for name in ("tags", "evidence", "related")}
    memory.learn({"id": long, "content": long, "namespace": long, "metadata": {long: long}} | lists)
    views = VIEWS | {"long": (f"#/memory/{long}", no_act), "long-edit": (f"#/memory/{long}", edit)}
    page = open_page(memory, viewport={"width": 360, "height": 700})
    too_wide = {}
    for name, (fragment, act) in views.items():
        go(page, memory, fragment)
        act(page)
        page.locator("summary").evaluate_all(
            "(all) => all.forEach((one) => { one.parentElement.open = true; })"
        )
        needed = page.evaluate("document.scrollingElement.scrollWidth")
        if needed > 360:
            too_wide[name] = needed
    assert {} == too_wide


def test_a_memory_is_found_edited_and_saved_by_keys_alone(memory: Memory, page: "Page"):
    press = page.keyboard.press

    def tab_to(name: str) -> None:
        for _ in range(40):
            press("Tab")
            if name == page.evaluate(
                "(document.activeElement.labels?.[0] ?? document.activeElement).textContent"
            ):
                return
        pytest.fail(f"{name} is not reached by the Tab key")

    tab_to("Search by meaning and by words")
    page.keyboard.type("sofa")
    expect(page.locator(".count")).to_contain_text("“sofa”")
    press("ArrowDown")
    assert outlined(page)
    press("Enter")
    expect(page.get_by_role("heading", name="Memory", exact=True)).to_be_focused()
    tab_to("Edit")
    assert outlined(page)
    press("Enter")
    expect(page.get_by_label("Text")).to_be_focused()
    press("Control+End")
    page.keyboard.type(" long")
    tab_to("Save")
    press("Enter")
    expect(page.get_by_text("Saved.")).to_be_visible()
    expect(page.get_by_role("button", name="Edit")).to_be_focused()
    assert "The cat slept on the sofa all afternoon long" == memory.get("cat")["content"]
    page.go_back()
    expect(page.get_by_role("link", name="The cat slept")).to_be_focused()
    press("ArrowDown")
    press("ArrowUp")
    expect(page.get_by_role("link", name="The cat slept")).to_be_focused()
    press("ArrowUp")
    expect(page.get_by_role("searchbox")).to_be_focused()


def outlined(page: "Page") -> bool:
    return page.evaluate(
        "parseFloat(getComputedStyle(document.activeElement).outlineWidth) >= 2 "
        "&& getComputedStyle(document.activeElement).outlineStyle === 'solid'"
    )


def test_the_first_tab_skips_to_the_content(page: "Page"):
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("main")).to_be_focused()


def test_what_happens_is_said_in_live_regions(memory: Memory, page: "Page"):
    expect(page.locator("[role=status].count")).to_have_text("4 memories, newest first")
    page.get_by_role("searchbox").fill("sofa")
    expect(page.locator("[role=status].count")).to_contain_text("for “sofa”")
    page.get_by_role("link", name="Timeline").click()
    expect(page.get_by_role("heading", name="Timeline")).to_be_focused()
    assert "Timeline – Chrysalis Memory" == page.title()
    expect(page.get_by_role("link", name="Timeline")).to_have_attribute("aria-current", "page")


def test_a_score_is_told_to_those_who_do_not_see_its_bar(memory: Memory, page: "Page"):
    page.get_by_role("searchbox").fill("sofa")
    expect(page.locator(".count")).to_contain_text("“sofa”")
    best = memory.recall("sofa", k=1)[0]
    label = page.get_by_role("img", name="Score").first.get_attribute("aria-label")
    assert label.startswith(
        f"Score {best['score']:.3f}: meaning +{best['explanation']['meaning']:.3f}, words +"
    )


def test_tags_are_removed_and_the_focus_stays_in_the_field(
    memory: Memory, open_page: "Callable[..., Page]"
):
    page = shown(open_page(memory, "#/?tags_all=pets&tags_all=home"))
    assert 1 == len(texts(page))
    page.get_by_role("button", name="Remove home").click()
    expect(page.get_by_role("combobox", name="Tags")).to_be_focused()
    expect(page.locator(".card")).to_have_count(2)
