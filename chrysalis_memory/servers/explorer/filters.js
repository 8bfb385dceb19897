// Conditions on memories: the same for the list, the search, the map and the timeline.

import { element, labelled, slider } from "./elements.js";
import { suggest, tagField } from "./tags.js";

export const TYPES = ["semantic", "episodic", "procedural", "working"];
const NAMES = ["namespace_prefix", "memory_type", "tags_all", "minimum_importance",
  "created_from", "created_before", "include_archived", "include_expired"];
const REPEATED = new Set(["memory_type", "tags_all"]);

/** Return only the conditions of an address. */
export function conditions(params) {
  const kept = new URLSearchParams();
  for (const [name, value] of params) if (NAMES.includes(name)) kept.append(name, value);
  return kept;
}

/** Return conditions as values of JSON. */
export function asBody(params) {
  const body = {};
  for (const [name, value] of conditions(params)) {
    if (REPEATED.has(name)) (body[name] ??= []).push(value);
    else if (name === "minimum_importance") body[name] = Number(value);
    else if (name.startsWith("include_")) body[name] = value === "true";
    else body[name] = value;
  }
  return body;
}

/**
 * Return a form of conditions.
 *
 * @param {URLSearchParams} params What holds now.
 * @param {(params: URLSearchParams) => void} changed Called with the conditions after each change.
 */
export function filterForm(params, changed) {
  const held = conditions(params);
  const summary = element("summary");
  const fields = element("form", { class: "filters", submit: (event) => event.preventDefault() });
  const box = element("details", { class: "filter-box" }, summary, fields);

  function entitle() {
    const number = new Set(held.keys()).size;
    summary.textContent = number ? `Filters (${number})` : "Filters";
  }

  function told() {
    entitle();
    changed(new URLSearchParams(held));
  }

  function write(name, value) {
    held.delete(name);
    if (value !== "" && value !== null) held.set(name, value);
    told();
  }

  function writeAll(name, values) {
    held.delete(name);
    for (const value of values) held.append(name, value);
    told();
  }

  function clear() {
    for (const name of NAMES) held.delete(name);
    draw();
    told();
    summary.focus();
  }

  function draw() {
    fields.replaceChildren(
      types(held, writeAll), tags(held, writeAll), importance(held, write),
      namespace(held, write), times(held, write), included(held, write),
      element("p", { class: "actions" },
        element("button", { type: "button", class: "quiet", click: clear }, "Clear the filters")),
    );
  }

  draw();
  entitle();
  box.open = held.size > 0;
  // Without suggestions a tag can still be typed; what keeps them away, the view says.
  box.addEventListener("toggle", () => { if (box.open) suggest(fields).catch(() => {}); });
  return box;
}

function types(held, writeAll) {
  const chosen = new Set(held.getAll("memory_type"));
  const boxes = TYPES.map((type) => checkbox(type, chosen.has(type), (on) => {
    if (on) chosen.add(type);
    else chosen.delete(type);
    writeAll("memory_type", TYPES.filter((one) => chosen.has(one)));
  }));
  return group("Type", boxes);
}

function tags(held, writeAll) {
  return tagField({
    label: "Tags, all of them", id: "filter-tag", tags: held.getAll("tags_all"),
    changed: (names) => writeAll("tags_all", names),
  }).field;
}

function importance(held, write) {
  const value = held.get("minimum_importance") ?? "0";
  return slider("Importance at least", "filter-importance", value,
    (chosen) => write("minimum_importance", Number(chosen) > 0 ? chosen : null)).field;
}

function namespace(held, write) {
  const input = element("input", {
    type: "text", value: held.get("namespace_prefix") ?? "", autocomplete: "off",
    change: () => write("namespace_prefix", input.value.trim()),
  });
  return labelled("Namespace, and what is below it", "filter-namespace", input);
}

function times(held, write) {
  const from = element("input", {
    type: "date", value: dayOf(held.get("created_from"), 0),
    change: () => write("created_from", startOf(from.value, 0)),
  });
  const to = element("input", {
    type: "date", value: dayOf(held.get("created_before"), -1),
    change: () => write("created_before", startOf(to.value, 1)),
  });
  return element("div", { class: "pair" }, labelled("Learned from", "filter-from", from),
    labelled("until", "filter-until", to));
}

function included(held, write) {
  const names = [["include_archived", "archived"], ["include_expired", "expired"]];
  return group("Also show", names.map(([name, label]) =>
    checkbox(label, held.get(name) === "true", (on) => write(name, on ? "true" : null))));
}

function checkbox(label, checked, changed) {
  const input = element("input", { type: "checkbox", checked, change: () => changed(input.checked) });
  return element("label", { class: "check" }, input, label);
}

function group(legend, children) {
  return element("fieldset", {}, element("legend", {}, legend), ...children);
}

/** Return the moment at which a day, or one some days later, begins here. */
function startOf(day, later) {
  if (day === "") return null;
  const moment = new Date(`${day}T00:00`);
  moment.setDate(moment.getDate() + later);
  return moment.toISOString();
}

/** Return the day of a moment, or of one some milliseconds later, as a date field holds it. */
function dayOf(iso, later) {
  if (iso === null || Number.isNaN(Date.parse(iso))) return "";
  const moment = new Date(Date.parse(iso) + later);
  const two = (number) => String(number).padStart(2, "0");
  return `${moment.getFullYear()}-${two(moment.getMonth() + 1)}-${two(moment.getDate())}`;
}
