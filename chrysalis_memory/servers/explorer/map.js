// The map: memories that are alike lie close together.

import * as api from "./api.js";
import { grouped, WAYS } from "./colours.js";
import { element, failure, heading } from "./elements.js";
import { conditions, filterForm } from "./filters.js";
import { Plane } from "./plane.js";
import { addressOf, rename } from "./route.js";
import { counted, exactly } from "./words.js";

const POINTS_MAX = 2000;

/** Show the map. */
export async function show(place, { params }, signal) {
  const state = { way: params.get("colour") ?? "type", filters: conditions(params), place, signal, turn: 0 };
  if (!WAYS.some(([name]) => name === state.way)) state.way = "type";
  state.count = element("p", { class: "count", role: "status" });
  state.area = element("div", { class: "map" });
  place.replaceChildren(heading("Map"),
    element("p", { class: "hint" }, "Each point is a memory; those that mean much the same lie close together."),
    filterForm(params, (filters) => { state.filters = filters; refresh(state); }),
    ways(state), state.count, state.area);
  await refresh(state);
}

function ways(state) {
  const choices = WAYS.map(([name]) => {
    const input = element("input", { type: "radio", name: "colour", value: name, checked: name === state.way,
      change: () => { state.way = name; named(state); colour(state); } });
    return element("label", { class: "check" }, input, name);
  });
  return element("fieldset", { class: "inline" }, element("legend", {}, "Coloured by"), ...choices);
}

function named(state) {
  const params = new URLSearchParams(state.filters);
  if (state.way !== "type") params.set("colour", state.way);
  rename("map", params);
}

async function refresh(state) {
  if (state.signal.aborted) return;
  const turn = (state.turn += 1);
  named(state);
  const params = new URLSearchParams(state.filters);
  params.set("limit", POINTS_MAX);
  try {
    const found = await api.points(params, state.signal);
    if (turn === state.turn) draw(state, found);
  } catch (error) {
    if (turn === state.turn && !api.isDropped(error)) {
      state.area.replaceChildren();
      state.count.replaceChildren(failure(error.message, () => refresh(state)));
    }
  }
}

function draw(state, { points, explained }) {
  state.points = points;
  state.stressed = null;
  if (!points.length) {
    state.area.replaceChildren();
    state.count.textContent = "No memory that matches has a vector yet.";
    return;
  }
  const share = Math.round(100 * explained.reduce((sum, part) => sum + part, 0));
  const newest = points.length === POINTS_MAX ? " (the newest)" : "";
  state.count.textContent = `${counted(points.length, "memory", "memories")}${newest}. `
    + `The plane shows ${share} % of what tells them apart.`;
  state.plane = new Plane(points.map(shownAs), (index) => { location.hash = addressOf(points[index].id); });
  state.legend = element("ul", { class: "legend", "aria-label": "Colours" });
  state.plane.element.prepend(zooms(state.plane));
  state.area.replaceChildren(state.legend, state.plane.element);
  colour(state);
}

function shownAs({ x, y, content, memory_type: type, tags, created_at: created }) {
  const detail = [type, tags.slice(0, 6).join(", "), exactly(created)].filter(Boolean).join(" · ");
  return { x, y, text: content, detail, label: `${content} (${detail})` };
}

function zooms(plane) {
  const button = (label, sign, act) =>
    element("button", { type: "button", class: "quiet", "aria-label": label, title: label, click: act }, sign);
  return element("p", { class: "zooms" },
    button("Enlarge", "+", () => plane.enlarge(1.5)),
    button("Reduce", "−", () => plane.enlarge(1 / 1.5)),
    button("Show all", "All", () => plane.reset()));
}

function colour(state) {
  if (!state.points?.length) return;
  const { names, kind, of, rest } = grouped(state.way, state.points);
  const groups = of.map((group) => (group === rest ? "rest" : group));
  state.plane.colour(kind, groups);
  state.stressed = null;
  state.legend.replaceChildren(...names.map((name, index) => {
    const group = index === rest ? "rest" : index;
    const number = groups.filter((one) => one === group).length;
    return number ? element("li", {}, entry(state, groups, group, `${kind}-${group}`, name, number)) : null;
  }).filter(Boolean));
}

function entry(state, groups, group, kind, name, number) {
  const button = element("button", { type: "button", class: "quiet", "aria-pressed": "false",
    title: "Show these alone", click: () => {
      state.stressed = state.stressed === group ? null : group;
      state.plane.stress(groups, state.stressed);
      for (const one of state.legend.querySelectorAll("button")) {
        one.setAttribute("aria-pressed", String(one === button && state.stressed !== null));
      }
    } },
  element("span", { class: `swatch ${kind}`, "aria-hidden": "true" }), element("bdi", {}, name), ` (${number})`);
  return button;
}
