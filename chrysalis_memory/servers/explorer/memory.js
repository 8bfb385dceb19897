// One memory: what it says, what it is connected with, who wrote it; to be changed and forgotten.

import * as api from "./api.js";
import { facts } from "./cards.js";
import { editForm } from "./edit.js";
import { element, failure, heading, stored } from "./elements.js";
import { addressOf } from "./route.js";
import { counted, exactly, when } from "./words.js";

/** Show a memory; `tell` says something to the reader, `leave` goes on to another address. */
export async function show(place, { id, tell, leave }, signal) {
  const view = { place, id, tell, leave, signal };
  const memory = await api.get(id, signal);
  draw(view, memory);
  await Promise.all([drawRelated(view, memory), drawHistory(view)]);
}

function draw(view, memory) {
  const edit = element("button", { type: "button", class: "main", id: "edit" }, "Edit");
  const forget = element("button", { type: "button", class: "danger", id: "forget" }, "Forget…");
  const body = element("div", { id: "said" },
    element("div", { class: "content", dir: "auto" }, stored(memory.content)), facts(memory));
  view.body = body;
  edit.addEventListener("click", () => startEditing(view, memory));
  forget.addEventListener("click", () => confirmForgetting(view, memory));
  view.actions = element("p", { class: "actions" }, edit, forget);
  view.related = section("Related", "related");
  view.history = section("Who wrote what", "history");
  view.place.replaceChildren(
    heading("Memory"),
    element("div", { class: "columns" },
      element("div", {}, body, view.actions, view.related),
      element("div", { class: "aside" }, details(memory), view.history)),
  );
}

function section(title, id) {
  return element("section", { "aria-labelledby": `${id}-title` },
    element("h2", { id: `${id}-title` }, title), element("div", { id, class: "section" }));
}

function details(memory) {
  const rows = [
    ["importance", memory.importance.toFixed(2)],
    ["confidence", memory.confidence.toFixed(2)],
    ["used", counted(memory.access_count, "time", "times")],
    ["learned", when(memory.created_at)],
    ["changed", when(memory.updated_at)],
    ["expires", memory.expires_at && exactly(memory.expires_at)],
    ["episode", memory.episode && stored(place(memory))],
    ["evidence", listed(memory.evidence)],
    ["metadata", Object.keys(memory.metadata).length ? metadata(memory.metadata) : null],
    ["source", listed(memory.sources)],
    ["writers", listed(memory.writers)],
    ["id", element("code", {}, stored(memory.id))],
  ];
  return element("section", { "aria-labelledby": "details-title" },
    element("h2", { id: "details-title" }, "Details"), pairs(rows));
}

function place({ episode, position }) {
  return position === null ? episode : `${episode} · ${position}`;
}

function listed(texts) {
  if (!texts.length) return null;
  return element("ul", { class: "plain" }, ...texts.map((text) => element("li", {}, stored(text, 500))));
}

function metadata(values) {
  return pairs(Object.entries(values).map(([key, value]) => [key, stored(JSON.stringify(value), 500)]));
}

function pairs(rows) {
  const list = element("dl", { class: "pairs" });
  for (const [name, value] of rows) {
    if (value === null) continue;
    list.append(element("dt", {}, stored(name, 80)), element("dd", {}, value));
  }
  return list;
}

// Related

async function drawRelated(view, memory) {
  const space = view.related.querySelector(".section");
  try {
    const found = await api.related(view.id, view.signal);
    const absent = [...memory.related.map((id) => ["related", id]), ...memory.parents.map((id) => ["parent", id])]
      .filter(([, id]) => !found.some((one) => one.memory.id === id));
    const rows = [...found.map(relation), ...absent.map(absentRelation)];
    space.replaceChildren(rows.length ? element("ul", { class: "relations" }, ...rows)
      : element("p", { class: "hint" }, "Nothing yet."));
  } catch (error) {
    shownIn(space, error, () => drawRelated(view, memory));
  }
}

function relation({ memory, link, similarity }) {
  const how = { related: "linked", parent: "parent" }[link] ?? "alike";
  const number = similarity === null ? "" : ` ${similarity.toFixed(2)}`;
  return element("li", {},
    element("span", { class: `badge link-${how}` }, `${how}${number}`),
    element("a", { href: addressOf(memory.id) }, stored(memory.content, 160)));
}

function absentRelation([link, id]) {
  return element("li", {},
    element("span", { class: "badge" }, link === "parent" ? "parent" : "linked"),
    element("a", { href: addressOf(id) }, stored(id, 80), " (not here)"));
}

// History

async function drawHistory(view) {
  const space = view.history.querySelector(".section");
  try {
    const writes = await api.writes(view.id, view.signal);
    space.replaceChildren(element("ol", { class: "writes" }, ...writes.map(write)));
  } catch (error) {
    shownIn(space, error, () => drawHistory(view));
  }
}

function write({ field, value, writer, at }) {
  const shown = value === null ? "" : typeof value === "string" ? value : JSON.stringify(value);
  return element("li", {},
    element("p", {}, element("strong", {}, stored(field, 80)), " ", stored(shown, 120)),
    element("p", { class: "hint" }, stored(writer, 80), " · ", when(at)));
}

function shownIn(space, error, again) {
  if (!api.isDropped(error)) space.replaceChildren(failure(error.message, again));
}

// Changing and forgetting

function startEditing(view, memory) {
  view.actions.hidden = true;
  const form = editForm(memory, {
    save: async (changes) => {
      const now = Object.keys(changes).length ? await api.change(view.id, changes) : memory;
      await finish(view, now);
      view.tell(now === memory ? "Nothing was changed." : "Saved.");
    },
    cancel: () => { view.actions.hidden = false; draw(view, memory); reload(view, memory); focusEdit(view); },
  });
  view.body.replaceChildren(form);
  form.querySelector("textarea").focus();
}

async function finish(view, memory) {
  draw(view, memory);
  focusEdit(view);
  await reload(view, memory);
}

function reload(view, memory) {
  return Promise.all([drawRelated(view, memory), drawHistory(view)]);
}

function focusEdit(view) {
  view.place.querySelector("#edit").focus();
}

function confirmForgetting(view, memory) {
  const dialog = document.getElementById("forget-dialog");
  document.getElementById("forget-what").replaceChildren(stored(memory.content, 200));
  dialog.returnValue = "cancel";
  dialog.addEventListener("close", async () => {
    if (dialog.returnValue !== "forget") return;
    try {
      const forgotten = await api.forget(view.id);
      view.leave("#/", forgotten.forgotten ? "Forgotten." : "It had been forgotten already.");
    } catch (error) {
      view.actions.after(failure(error.message));
    }
  }, { once: true });
  dialog.showModal();
}
