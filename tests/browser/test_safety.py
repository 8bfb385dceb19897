"""What is stored stays text, nothing leaves the machine, and a token opens a served memory."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.browser.conftest import MEMORIES, Memory, Watch, expect, shown, texts

if TYPE_CHECKING:
    from playwright.sync_api import Page, Route

HOSTILE = [
    "<img src=x onerror=\"window.harmed='img'\"> cat",
    "<script>window.harmed='script'</script> cat",
    "<a href=\"javascript:window.harmed='link'\">cat</a> javascript:window.harmed='text'",
    "</title></main><svg onload=\"window.harmed='svg'\"></svg> cat",
    "\u202eecil\u2066A cat written backwards",
    "https://example.org/cat <style>body{display:none}</style>",
]
TOKEN = "s3cret + slash/and 100%"


def test_stored_markup_stays_text_in_every_view(
    serve_memory: Callable[..., Memory], open_page: "Callable[..., Page]"
):
    memory = serve_memory()
    for number, text in enumerate(HOSTILE):
        memory.learn({
            "id": f"{number} {text}", "content": text, "tags": [text, "javascript:alert(1)"],
            "namespace": "a/<b>b</b>", "metadata": {text: text}, "evidence": [text],
            "episode": text, "related": [f"0 {HOSTILE[0]}", "javascript:alert(2)"],
        })  # fmt: skip
    page = open_page(memory)
    for fragment in ("#/", "#/?q=cat", "#/?q=%3Cimg src=x onerror=alert(1)%3E", "#/map?colour=tag",
                     "#/timeline", "#/replicas", "#/learn"):  # fmt: skip
        page.goto("about:blank")
        page.goto(f"{memory.url}/{fragment}")
        unharmed(shown(page))
    page.goto("about:blank")
    page.goto(f"{memory.url}/#/map")
    shown(page).locator(".dot").first.focus()
    unharmed(page)
    page.goto(f"{memory.url}/#/")
    for text in HOSTILE:
        page.locator(".card-link").filter(has_text=text[:20]).first.click()
        expect(page.locator(".content")).to_have_text(text)
        expect(page.locator("#related li").first).to_be_visible()
        unharmed(page)
        page.get_by_role("button", name="Edit").click()
        unharmed(page)
        page.get_by_role("button", name="Cancel").click()
        page.get_by_role("button", name="Forget…").click()
        unharmed(page)
        page.get_by_role("button", name="Keep it").click()
        page.get_by_role("link", name="Memories").click()
        expect(page.locator(".card-link")).to_have_count(len(HOSTILE))


def unharmed(page: "Page") -> None:
    assert None is page.evaluate("window.harmed ?? null")
    assert [] == page.evaluate("""() => {
        const inside = "main img, main script, main style, main iframe, dialog img, dialog script";
        const links = [...document.querySelectorAll("a[href]")]
            .map((one) => one.getAttribute("href"));
        return [...document.querySelectorAll(inside)].map((one) => one.outerHTML)
            .concat(links.filter((link) => !link.startsWith("#")));
    }""")
    expect(page.get_by_role("banner")).to_be_visible()


def test_a_text_that_turns_the_direction_of_writing_turns_nothing_beside_it(
    serve_memory: Callable[..., Memory], open_page: "Callable[..., Page]"
):
    memory = serve_memory()
    memory.learn({"content": "\u202eturned \u2067around", "tags": ["\u202egat"]})
    page = shown(open_page(memory))
    isolated = page.evaluate("""() => [...document.querySelectorAll(".card *")]
        .filter((one) => [...one.childNodes].some((child) =>
            child.nodeType === Node.TEXT_NODE && /[\\u202e\\u2067]/.test(child.data)))
        .map((one) => getComputedStyle(one).unicodeBidi)""")
    assert ["isolate", "isolate"] == isolated
    # In one line, left to right: the tag, then the importance, then the time.
    places = [
        page.locator(selector).first.bounding_box()["x"]
        for selector in (".facts .type", ".facts .chip", ".facts > span:nth-last-child(2)", "time")
    ]
    assert sorted(places) == places


def test_the_page_runs_nothing_that_is_not_in_a_file_of_its_own(memory: Memory):
    answer = httpx.get(memory.url, trust_env=False)
    policy = answer.headers["content-security-policy"]
    for part in ("default-src 'none'", "script-src 'self'", "style-src 'self'", "base-uri 'none'",
                 "frame-ancestors 'none'", "form-action 'none'"):  # fmt: skip
        assert part in policy
    assert "<style" not in answer.text
    assert answer.text.count("<script") == answer.text.count('<script type="module" src="explorer/')
    assert " style=" not in answer.text
    assert " on" not in "".join(part.partition(">")[0] for part in answer.text.split("<button"))


def test_a_token_is_asked_for_and_kept_in_the_tab(
    serve_memory: Callable[..., Memory], open_page: "Callable[..., Page]", watch: Watch
):
    watch.expected = ("Failed to load resource: the server responded with a status of 401",)
    memory = serve_memory(token="right-token")
    memory.learn(*MEMORIES)
    page = open_page(memory, "#/map")
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_label("Token")).to_be_focused()
    page.keyboard.type("wrong-token")
    page.keyboard.press("Enter")
    expect(dialog.get_by_role("alert")).to_have_text("This token was refused.")
    page.keyboard.type("right-token")
    page.keyboard.press("Enter")
    expect(page.locator(".dot")).to_have_count(5)
    expect(dialog).not_to_be_visible()
    seen = len(watch.said)
    shown(page.reload() and page)
    expect(page.locator(".dot")).to_have_count(5)
    assert seen == len(watch.said)
    page.get_by_role("button", name="Drop the token").click()
    expect(dialog.get_by_label("Token")).to_be_visible()
    dialog.get_by_role("button", name="Cancel").click()
    expect(page.locator("main").get_by_role("alert").first).to_contain_text("token")


@pytest.mark.parametrize("token", ["right-token", "a+b/c=100%25"])
def test_a_token_in_the_address_is_used_and_leaves_the_address_bar(
    serve_memory: Callable[..., Memory],
    open_page: "Callable[..., Page]",
    watch: Watch,
    token: str,
):
    memory = serve_memory(token=token.replace("%25", "%"))
    memory.learn(*MEMORIES)
    page = shown(open_page(memory, f"#token={token}"))
    assert f"{memory.url}/#/" == page.url
    assert 5 == len(texts(page))
    assert [] == [one for one in watch.requests if token in one]
    page.get_by_role("link", name="Map").click()
    expect(page.locator(".dot")).to_have_count(5)
    page.goto(f"{memory.url}/#token={token}")
    expect(page.locator(".card")).to_have_count(5)
    assert "token" not in page.url


def test_a_server_that_does_not_answer_is_named_and_asked_again(page: "Page", watch: Watch):
    watch.expected = ("Failed to load resource: net::ERR_INTERNET_DISCONNECTED",)
    page.context.set_offline(True)
    page.get_by_role("searchbox").fill("cat")
    expect(page.get_by_role("alert").filter(has_text="does not answer")).to_be_visible()
    page.context.set_offline(False)
    page.get_by_role("button", name="Try again").click()
    expect(page.locator(".count")).to_contain_text("4 memories for “cat”")


def test_a_server_that_has_too_much_to_do_is_asked_again_when_it_says(page: "Page", watch: Watch):
    watch.expected = ("Failed to load resource: the server responded with a status of 429",)
    sent_away = []

    def send_away_once(route: "Route") -> None:
        if sent_away:
            route.continue_()
        else:
            sent_away.append(route.request.url)
            route.fulfill(status=429, headers={"Retry-After": "1"}, json={"error": "PeerRefused"})

    page.route("**/v1/recall", send_away_once)
    page.get_by_role("searchbox").fill("cat")
    expect(page.locator(".count")).to_contain_text("4 memories for “cat”")
    assert 1 == len(sent_away)
