// A form to learn a memory.

import * as api from "./api.js";
import { sending, typeField } from "./edit.js";
import { element, heading, labelled, slider } from "./elements.js";
import { addressOf } from "./route.js";
import { suggest, tagField } from "./tags.js";

/** Show the form. */
export async function show(place, { leave }, signal) {
  place.replaceChildren(heading("Learn"), form(leave));
  await suggest(place, signal);
}

function form(leave) {
  const content = element("textarea", { rows: "5", required: true });
  const tags = tagField({ label: "Tags", id: "new-tag", tags: [] });
  const type = typeField("semantic");
  const importance = slider("Importance", "new-importance", 0.5);
  const namespace = element("input", { type: "text", autocomplete: "off" });
  const failed = element("div");
  const button = element("button", { type: "submit", class: "main" }, "Learn");

  async function learn() {
    const memory = { content: content.value, memory_type: type.value, tags: tags.tags() };
    // Half is what a memory has that nobody rated: leaving the slider alone rates nothing.
    if (Number(importance.control.value) !== 0.5) memory.importance = Number(importance.control.value);
    if (namespace.value.trim()) memory.namespace = namespace.value.trim();
    const id = await api.learn(memory);
    leave(addressOf(id), "Learned.");
  }

  return element("form", { class: "edit narrow", submit: async (event) => {
    event.preventDefault();
    await sending(button, failed, learn);
  } },
  labelled("Text", "new-content", content, "The same text learned twice is one memory."),
  tags.field, labelled("Type", "new-type", type), importance.field,
  labelled("Namespace", "new-namespace", namespace, "Where it belongs, as in user/mara; may stay empty."),
  failed, element("p", { class: "actions" }, button));
}
