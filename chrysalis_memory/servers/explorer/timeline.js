// The timeline: how many memories were learned when, and which.

import * as api from "./api.js";
import { arrows, card } from "./cards.js";
import { element, failure, heading } from "./elements.js";
import { conditions, filterForm } from "./filters.js";
import { address, rename } from "./route.js";
import { nameOf, spansOf } from "./spans.js";
import { counted } from "./words.js";

const SHOWN = 25;
const AT_ONCE = 4;
const TIMES = ["created_from", "created_before"];

/** Show the timeline. */
export async function show(place, { params }, signal) {
  const state = { filters: conditions(params), signal, turn: 0 };
  state.count = element("p", { class: "count", role: "status" });
  state.chart = element("div", { class: "chart" });
  state.list = element("ol", { class: "cards", "aria-label": "Memories of this time" });
  state.told = element("h2", { id: "span-title", tabindex: "-1" });
  state.all = element("p");
  place.replaceChildren(heading("Timeline"),
    filterForm(params, (filters) => { state.filters = filters; refresh(state); }),
    state.count, state.chart, state.told, state.list, state.all);
  arrows(state.list, state.told);
  await refresh(state);
}

async function refresh(state) {
  if (state.signal.aborted) return;
  const turn = (state.turn += 1);
  rename("timeline", state.filters);
  try {
    const counts = await countedSpans(state);
    const memories = counts.spans.length ? await listed(state) : { memories: [], total: 0 };
    if (turn !== state.turn) return;
    draw(state, counts);
    drawList(state, memories);
  } catch (error) {
    if (turn !== state.turn || api.isDropped(error)) return;
    state.chart.replaceChildren();
    state.count.replaceChildren(failure(error.message, () => refresh(state)));
  }
}

/** Return spans over everything that matches but for the time, each with its number of memories. */
async function countedSpans(state) {
  const wanted = new URLSearchParams(state.filters);
  for (const name of TIMES) wanted.delete(name);
  const [oldest, newest] = await Promise.all(["created", "recent"].map((order) => ends(state, wanted, order)));
  if (oldest === null || newest === null) return { unit: "day", spans: [] };
  const { unit, spans } = spansOf(oldest, newest);
  const left = [...spans.entries()];
  const count = async () => {
    for (let one = left.shift(); one !== undefined; one = left.shift()) {
      one[1].number = await numberWithin(state, wanted, one[1]);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, count));
  return { unit, spans };
}

async function ends(state, wanted, order) {
  const params = new URLSearchParams(wanted);
  params.set("order", order);
  params.set("limit", "1");
  const { memories } = await api.list(params, state.signal);
  return memories.length ? new Date(memories[0].created_at) : null;
}

async function numberWithin(state, wanted, { from, before }) {
  const params = new URLSearchParams(wanted);
  params.set("created_from", from.toISOString());
  params.set("created_before", before.toISOString());
  params.set("limit", "1");
  return (await api.list(params, state.signal)).total;
}

function listed(state) {
  const params = new URLSearchParams(state.filters);
  params.set("order", "recent");
  params.set("limit", SHOWN);
  return api.list(params, state.signal);
}

// Drawing

function draw(state, { unit, spans }) {
  const most = Math.max(1, ...spans.map((span) => span.number));
  const all = spans.reduce((sum, span) => sum + span.number, 0);
  state.count.textContent = spans.length
    ? `${counted(all, "memory", "memories")}, by ${unit}. Choose a bar to see what was learned then.`
    : "Nothing matches.";
  if (!spans.length) {
    state.chart.replaceChildren();
    return;
  }
  const bars = spans.map((span) => columnOf(state, span, unit, most));
  const toolbar = element("div", { class: "columns-of-time", role: "toolbar", "aria-label": `Memories by ${unit}` }, ...bars);
  walk(bars);
  state.chart.replaceChildren(
    element("p", { class: "axis-top", "aria-hidden": "true" }, String(most)), toolbar,
    element("p", { class: "axis", "aria-hidden": "true" },
      element("span", {}, nameOf(spans[0], unit)), element("span", {}, nameOf(spans.at(-1), unit))));
}

function columnOf(state, span, unit, most) {
  const label = `${nameOf(span, unit)}: ${counted(span.number, "memory", "memories")}`;
  const chosen = isChosen(state, span);
  const column = element("button", { type: "button", class: "column", title: label, "aria-label": label,
    "aria-pressed": String(chosen), "data-from": span.from.toISOString(), click: () => choose(state, span, chosen),
  }, element("span", { class: "column-bar" }));
  column.style.setProperty("--share", `${(100 * span.number) / most}%`);
  return column;
}

function isChosen(state, { from, before }) {
  return state.filters.get("created_from") === from.toISOString()
    && state.filters.get("created_before") === before.toISOString();
}

async function choose(state, { from, before }, chosen) {
  for (const name of TIMES) state.filters.delete(name);
  if (!chosen) {
    state.filters.set("created_from", from.toISOString());
    state.filters.set("created_before", before.toISOString());
  }
  await refresh(state);
  state.chart.querySelector(`[data-from="${from.toISOString()}"]`)?.focus();
}

/** Make one bar the way in for the Tab key, and let the arrow keys go from bar to bar. */
function walk(bars) {
  const enter = bars.find((bar) => bar.getAttribute("aria-pressed") === "true") ?? bars.at(-1);
  for (const bar of bars) bar.tabIndex = bar === enter ? 0 : -1;
  for (const [at, bar] of bars.entries()) {
    bar.addEventListener("keydown", (event) => {
      const to = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: bars.length - 1 }[event.key];
      if (to === undefined || !bars[to]) return;
      event.preventDefault();
      bar.tabIndex = -1;
      bars[to].tabIndex = 0;
      bars[to].focus();
    });
  }
}

function drawList(state, { memories, total }) {
  const narrowed = TIMES.some((name) => state.filters.has(name));
  state.told.textContent = narrowed ? `Learned then: ${counted(total, "memory", "memories")}` : "Newest";
  state.list.replaceChildren(...memories.map((memory) => card(memory)));
  const link = element("a", { href: address("", state.filters) }, `Show all ${total} as a list`);
  state.all.replaceChildren(...(total > memories.length ? [link] : []));
}
