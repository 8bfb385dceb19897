// The explorer: shows the view that the address names, and goes from one to the next.

import * as api from "./api.js";
import { failure, heading } from "./elements.js";
import * as learn from "./learn.js";
import * as map from "./map.js";
import * as memory from "./memory.js";
import * as replicas from "./replicas.js";
import { current } from "./route.js";
import * as search from "./search.js";
import * as timeline from "./timeline.js";
import { takeFromAddress } from "./token.js";
import { counted } from "./words.js";

const VIEWS = new Map([
  ["", { show: search.show, title: "Memories" }],
  ["memory", { show: memory.show, title: "Memory" }],
  ["map", { show: map.show, title: "Map" }],
  ["timeline", { show: timeline.show, title: "Timeline" }],
  ["replicas", { show: replicas.show, title: "Replicas" }],
  ["learn", { show: learn.show, title: "Learn" }],
]);
const TITLES = { MemoryNotFound: "No such memory", MemoryForgotten: "Forgotten", Unreachable: "No answer" };
const TEXTS = {
  MemoryNotFound: "No memory has this id here. It may be on a replica that has not been synced yet.",
  MemoryForgotten: "It was forgotten; nothing of it is left.",
};

const main = document.getElementById("main");
const notice = document.getElementById("notice");
let showing = new AbortController();
let saidNext = "";

/** Show what the address names. */
async function go({ first = false, returned = false } = {}) {
  showing.abort();
  showing = new AbortController();
  const { signal } = showing;
  const route = current();
  const view = VIEWS.get(route.view) ?? VIEWS.get("");
  document.title = `${view.title} – Chrysalis Memory`;
  notice.textContent = saidNext;
  saidNext = "";
  mark(route.view);
  const space = document.createElement("div");
  space.className = "view";
  main.replaceChildren(space);
  main.setAttribute("aria-busy", "true");
  try {
    await view.show(space, { ...route, returned, tell, leave }, signal);
  } catch (error) {
    if (signal.aborted) return;
    const text = TEXTS[error.kind] ?? error.message;
    space.replaceChildren(heading(TITLES[error.kind] ?? "That did not work"), failure(text, () => go()));
    if (!(error instanceof api.ApiError)) throw error;
  } finally {
    if (!signal.aborted) main.removeAttribute("aria-busy");
  }
  if (!signal.aborted && !first && !space.contains(document.activeElement)) {
    scrollTo(0, 0);
    space.querySelector("h1")?.focus({ preventScroll: true });
  }
}

/** Say something to the reader, until the next view is shown. */
function tell(text) {
  notice.textContent = text;
}

/** Go to another address, and say something there. */
function leave(address, text) {
  saidNext = text;
  if (location.hash === address) go();
  else location.hash = address;
  tellStore();
}

function mark(name) {
  for (const link of document.querySelectorAll("#views a")) {
    if (link.dataset.view === name) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
}

async function tellStore() {
  try {
    const held = await api.statistics();
    document.getElementById("store").textContent =
      `${held.agent} · ${counted(held.memories, "memory", "memories")} · replica ${held.replica}`;
  } catch {
    document.getElementById("store").textContent = ""; // the view shows the failure
  }
}

document.getElementById("skip").addEventListener("click", (event) => {
  event.preventDefault();
  main.focus();
});

// A step back in history is told from a link by its popstate, which comes without a click before.
let followed = false;
document.addEventListener("click", (event) => { followed = event.target.closest("a") !== null; }, true);
addEventListener("hashchange", () => {
  const returned = !followed;
  followed = false;
  takeFromAddress();
  go({ returned });
});

takeFromAddress();
await go({ first: true });
await tellStore();
