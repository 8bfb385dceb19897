"""Learning, finding, changing and forgetting on the page."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from tests.browser.conftest import Memory, Watch, expect, shown, texts

if TYPE_CHECKING:
    from playwright.sync_api import Page, Route


def test_what_is_learned_on_the_page_is_stored(memory: Memory, page: "Page"):
    page.get_by_role("link", name="Learn").click()
    page.get_by_label("Text").fill("Mara bakes rye bread")
    page.get_by_role("combobox", name="Tags").fill("food, and more")
    page.get_by_role("button", name="Add").click()
    page.get_by_role("combobox", name="Tags").fill("home")
    page.get_by_label("Type").select_option("episodic")
    page.get_by_label("Importance").fill("0.8")
    page.get_by_label("Namespace").fill("user/mara")
    page.get_by_role("button", name="Learn").click()
    expect(page.get_by_text("Learned.")).to_be_visible()
    expect(page.locator(".content")).to_have_text("Mara bakes rye bread")
    found = memory.recall("rye bread", k=1)[0]
    assert "Mara bakes rye bread" == found["content"]
    assert {"food, and more", "home"} == set(found["tags"])
    assert ("episodic", 0.8, "user/mara") == (
        found["memory_type"], found["importance"], found["namespace"])  # fmt: skip


def test_a_memory_that_is_refused_says_why_and_keeps_what_was_typed(page: "Page", watch: Watch):
    watch.expected = ("Failed to load resource: the server responded with a status of 400",)
    page.get_by_role("link", name="Learn").click()
    page.get_by_label("Text").fill("Something")
    page.get_by_label("Namespace").fill("a//b")
    page.get_by_role("button", name="Learn").click()
    expect(page.get_by_role("alert").filter(has_text="empty segment")).to_be_visible()
    expect(page.get_by_label("Text")).to_have_value("Something")


def test_without_a_question_the_newest_come_first_and_archived_ones_not_at_all(page: "Page"):
    expect(page.locator(".count")).to_have_text("4 memories, newest first")
    assert ["Tea is at four", "The train to Gent leaves at nine"] == texts(page)[:2]


def test_results_come_while_typing_and_do_not_count_as_use(memory: Memory, page: "Page"):
    page.get_by_role("searchbox").press_sequentially("sofa afternoon")
    expect(page.locator(".count")).to_contain_text("for “sofa afternoon”, best first")
    assert "The cat slept on the sofa all afternoon" == texts(page)[0]
    page.get_by_role("searchbox").press("Enter")
    expect(page.locator(".cards")).not_to_have_attribute("aria-busy", "true")
    assert 0 == memory.get("cat")["access_count"]
    assert page.url.endswith("#/?q=sofa+afternoon")


def test_an_answer_that_comes_late_is_dropped(page: "Page"):
    held: list[Route] = []

    def hold(route: "Route") -> None:
        if route.request.post_data_json["query"] == "train":
            held.append(route)
        else:
            route.continue_()

    page.route("**/v1/recall", hold)
    # As if a browser could not abort what it has sent: only the order of asking counts.
    page.evaluate("AbortController.prototype.abort = () => {}")
    with page.expect_request("**/v1/recall"):
        page.get_by_role("searchbox").fill("train")
    page.get_by_role("searchbox").fill("sofa")
    expect(page.locator(".count")).to_contain_text("“sofa”")
    before = texts(page)
    with page.expect_response("**/v1/recall"):
        held[0].continue_()
    page.evaluate("() => new Promise((done) => setTimeout(done))")
    assert before == texts(page)
    assert "The cat slept on the sofa all afternoon" == before[0]


def test_bars_and_numbers_add_up_to_the_score(memory: Memory, page: "Page"):
    page.get_by_role("searchbox").fill("cat dog train")
    expect(page.locator(".count")).to_contain_text("“cat dog train”")
    found = memory.recall("cat dog train", k=10)
    assert [one["content"] for one in found] == texts(page)
    scale = max(1.0, *(raised(one["explanation"]) for one in found))
    for card, one in zip(page.locator(".card").all(), found, strict=True):
        widths = card.locator(".bar").evaluate("""(bar) => {
            const width = (part) => part.getBoundingClientRect().width;
            const parts = [...bar.querySelectorAll(".part:not(.part-off)")].map(width);
            const off = [...bar.querySelectorAll(".part-off")].map(width);
            const sum = (all) => all.reduce((a, b) => a + b, 0);
            return (sum(parts) - sum(off)) / width(bar);
        }""")
        assert one["score"] / scale == pytest.approx(widths, abs=0.004)
        card.get_by_text("Why").click()
        cells = [number(cell) for cell in card.locator("td.number").all_inner_texts()]
        assert one["score"] == pytest.approx(cells[-1], abs=0.001)
        assert cells[-1] == pytest.approx(sum(cells[:-1]), abs=0.004)
    # Little importance takes something off, so both signs have been seen.
    assert 0 < page.locator(".part-off").count()


def raised(explanation: dict[str, Any]) -> float:
    names = ("importance_effect", "confidence_effect", "access_effect", "recency_effect")
    return explanation["relevance"] * (1 + sum(max(0.0, explanation[name]) for name in names))


def number(text: str) -> float:
    return float(text.replace("\N{MINUS SIGN}", "-").replace("+", ""))


@pytest.mark.parametrize(
    ("fragment", "expected"),
    [
        ("tags_all=pets", ["dog", "cat"]),
        ("tags_all=pets&tags_all=home", ["cat"]),
        ("memory_type=working&memory_type=procedural", ["tea", "train"]),
        ("minimum_importance=0.6", ["train"]),
        ("namespace_prefix=user", ["tea"]),
        ("include_archived=true&tags_all=archive", ["old"]),
        ("created_from=2100-01-01T00%3A00%3A00.000Z", []),
    ],
)
def test_filters_in_the_address_are_kept_by_the_list_and_shown_in_the_form(
    memory: Memory, open_page: "Callable[..., Page]", fragment: str, expected: list[str]
):
    page = shown(open_page(memory, f"#/?{fragment}"))
    assert [memory_of(name) for name in expected] == texts(page)
    expect(page.locator(".filter-box summary")).to_have_text(
        "Filters (1)" if "archived" not in fragment else "Filters (2)"
    )
    expect(page.get_by_role("button", name="Clear the filters")).to_be_visible()


def memory_of(name: str) -> str:
    from tests.browser.conftest import MEMORIES

    return next(str(one["content"]) for one in MEMORIES if one["id"] == name)


def test_filters_narrow_the_list_and_a_search_alike(page: "Page"):
    page.locator(".filter-box summary").click()
    page.get_by_label("episodic").check()
    expect(page.locator(".count")).to_have_text("1 memory, newest first")
    page.get_by_role("searchbox").fill("cat")
    expect(page.locator(".count")).to_have_text("1 memory for “cat”, best first")
    assert [memory_of("dog")] == texts(page)
    page.get_by_label("procedural").check()
    expect(page.locator(".count")).to_contain_text("2 memories for “cat”")
    page.get_by_role("button", name="Clear the filters").click()
    expect(page.locator(".count")).to_contain_text("4 memories for “cat”")
    expect(page.get_by_label("episodic")).not_to_be_checked()
    page.get_by_label("archived").check()
    expect(page.locator(".count")).to_contain_text("5 memories for “cat”")
    page.get_by_label("Learned from").fill("2100-01-01")
    expect(page.locator(".count")).to_have_text("Nothing found for “cat”")


def test_many_memories_are_shown_page_by_page(
    serve_memory: Callable[..., Memory], open_page: "Callable[..., Page]"
):
    memory = serve_memory()
    memory.learn(*({"content": f"Note number {one}"} for one in range(60)))
    page = shown(open_page(memory))
    expect(page.locator(".count")).to_have_text("1 to 25 of 60 memories, newest first")
    page.get_by_role("button", name="Older").click()
    expect(page.locator(".count")).to_have_text("26 to 50 of 60 memories, newest first")
    page.get_by_role("button", name="Older").click()
    expect(page.locator(".count")).to_have_text("51 to 60 of 60 memories, newest first")
    assert [f"Note number {one}" for one in range(9, -1, -1)] == texts(page)
    expect(page.get_by_role("button", name="Older")).to_be_disabled()
    page.get_by_role("searchbox").fill("note number 7")
    expect(page.locator(".card")).to_have_count(10)
    page.get_by_role("button", name="Show more").click()
    expect(page.locator(".card")).to_have_count(20)


def test_a_memory_shows_what_it_is_connected_with_and_who_wrote_it(memory: Memory, page: "Page"):
    page.get_by_role("link", name="The dog chased").click()
    expect(page.locator(".content")).to_have_text("The dog chased a cat around the garden")
    related = page.locator("#related li")
    expect(related.first).to_contain_text("linked")
    expect(related.first).to_contain_text("The cat slept on the sofa all afternoon")
    expect(related.filter(has_text="not-here")).to_contain_text("(not here)")
    expect(related.filter(has_text="alike")).not_to_have_count(0)
    expect(page.locator("#history li").filter(has_text="importance")).to_contain_text("ada@")
    related.first.get_by_role("link").click()
    expect(page.locator(".content")).to_have_text("The cat slept on the sofa all afternoon")
    assert page.url.endswith("#/memory/cat")
    page.go_back()
    expect(page.locator(".content")).to_have_text("The dog chased a cat around the garden")


def test_an_edit_is_stored_and_sends_only_what_was_changed(
    memory: Memory, open_page: "Callable[..., Page]"
):
    page = shown(open_page(memory, "#/memory/cat"))
    page.get_by_role("button", name="Edit").click()
    page.get_by_label("Text").fill("The cat slept on the chair")
    page.get_by_role("button", name="Remove home").click()
    page.get_by_role("combobox", name="Tags").fill("furniture")
    page.get_by_label("Importance").fill("0.7")
    page.get_by_label("Confidence").fill("0.9")
    page.get_by_label("Type").select_option("episodic")
    with page.expect_request("**/v1/memories/cat") as asked:
        page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("Saved.")).to_be_visible()
    expect(page.locator(".content")).to_have_text("The cat slept on the chair")
    expect(page.locator("#history")).to_contain_text("The cat slept on the chair")
    assert {"content": "The cat slept on the chair", "memory_type": "episodic", "importance": 0.7,
            "confidence": 0.9, "add_tags": ["furniture"], "remove_tags": ["home"]
            } == asked.value.post_data_json  # fmt: skip
    now = memory.get("cat")
    assert ("The cat slept on the chair", "episodic", 0.7, 0.9, {"pets", "furniture"}) == (
        now["content"], now["memory_type"], now["importance"], now["confidence"], set(now["tags"])
    )  # fmt: skip


def test_an_edit_does_not_write_over_what_another_wrote_meanwhile(
    memory: Memory, open_page: "Callable[..., Page]"
):
    page = shown(open_page(memory, "#/memory/cat"))
    page.get_by_role("button", name="Edit").click()
    memory.change("cat", content="Written meanwhile", importance=1.0)
    page.get_by_label("Archived").check()
    page.get_by_role("button", name="Save").click()
    expect(page.locator(".content")).to_have_text("Written meanwhile")
    now = memory.get("cat")
    assert ("Written meanwhile", 1.0, True) == (now["content"], now["importance"], now["archived"])


def test_a_memory_is_forgotten_only_after_it_was_confirmed(
    memory: Memory, open_page: "Callable[..., Page]", watch: Watch
):
    page = shown(open_page(memory, "#/memory/cat"))
    page.get_by_role("button", name="Forget…").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("The cat slept on the sofa all afternoon")
    expect(dialog.get_by_role("button", name="Keep it")).to_be_focused()
    page.keyboard.press("Escape")
    expect(dialog).not_to_be_visible()
    expect(page.get_by_role("button", name="Forget…")).to_be_focused()
    assert 200 == memory.status("cat")
    page.get_by_role("button", name="Forget…").click()
    dialog.get_by_role("button", name="Forget").click()
    expect(page.get_by_text("Forgotten.")).to_be_visible()
    expect(page.locator(".count")).to_have_text("3 memories, newest first")
    expect(page.locator("#store")).to_contain_text("4 memories")  # the archived one too
    assert 410 == memory.status("cat")
    watch.expected = ("Failed to load resource: the server responded with a status of 410",)
    page.goto(f"{memory.url}/#/memory/cat")
    expect(page.get_by_role("heading", name="Forgotten")).to_be_visible()
    expect(page.get_by_role("alert")).to_contain_text("It was forgotten; nothing of it is left.")


def test_any_id_can_be_opened_and_changed(
    serve_memory: Callable[..., Memory], open_page: "Callable[..., Page]"
):
    memory = serve_memory()
    names = ["a/b?c#d", "100% sure", "ü <b>&\"'", "../../health", "javascript:alert(1)"]
    memory.learn(*({"id": name, "content": f"Named {name}"} for name in names))
    page = shown(open_page(memory))
    for name in names:
        page.get_by_role("link", name=f"Named {name}").click()
        expect(page.locator(".content")).to_have_text(f"Named {name}")
        page.get_by_role("button", name="Edit").click()
        page.get_by_label("Text").fill(f"Changed {name}")
        page.get_by_role("button", name="Save").click()
        expect(page.locator(".content")).to_have_text(f"Changed {name}")
        page.get_by_role("link", name="Memories").click()
        expect(page.get_by_role("link", name=f"Changed {name}")).to_be_visible()


def test_meaning_is_found_with_the_bundled_model(
    serve_memory: Callable[..., Memory], open_page: "Callable[..., Page]"
):
    memory = serve_memory(embedder="minilm")
    memory.learn({"content": "The cat slept on the sofa all afternoon"},
                 {"content": "The train to Gent leaves at nine"},
                 {"content": "Bread is baked on Sundays"})  # fmt: skip
    page = shown(open_page(memory, "#/?q=Where+did+the+pet+take+its+nap%3F"))
    assert "The cat slept on the sofa all afternoon" == texts(page)[0]
    expect(page.get_by_role("searchbox")).to_have_value("Where did the pet take its nap?")
    page.get_by_role("link", name="Map").click()
    expect(page.locator(".dot")).to_have_count(3)
