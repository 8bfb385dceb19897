// The form that changes a memory. Only what was changed is sent, so that a value which somebody
// else has changed meanwhile is not written over.

import { element, failure, labelled, slider } from "./elements.js";
import { TYPES } from "./filters.js";
import { tagField } from "./tags.js";

/**
 * Return the form.
 *
 * @param {object} memory The memory as it is.
 * @param {object} acts save (called with the changes; may reject) and cancel.
 */
export function editForm(memory, { save, cancel }) {
  const content = element("textarea", { value: memory.content, rows: rowsFor(memory.content), required: true });
  const before = content.value; // line ends are normalised there, which is no change
  const tags = tagField({ label: "Tags", id: "edit-tag", tags: memory.tags });
  const type = typeField(memory.memory_type);
  const importance = slider("Importance", "edit-importance", memory.importance);
  const confidence = slider("Confidence", "edit-confidence", memory.confidence);
  const archived = element("input", { type: "checkbox", checked: memory.archived });
  const [slideAt, sureAt] = [importance.control.value, confidence.control.value];
  const failed = element("div");

  function changes() {
    const now = tags.tags();
    const all = {
      content: content.value === before ? undefined : content.value,
      memory_type: type.value === memory.memory_type ? undefined : type.value,
      importance: importance.control.value === slideAt ? undefined : Number(importance.control.value),
      confidence: confidence.control.value === sureAt ? undefined : Number(confidence.control.value),
      archived: archived.checked === memory.archived ? undefined : archived.checked,
      add_tags: some(now.filter((tag) => !memory.tags.includes(tag))),
      remove_tags: some(memory.tags.filter((tag) => !now.includes(tag))),
    };
    return Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined));
  }

  const button = element("button", { type: "submit", class: "main" }, "Save");
  const form = element("form", { class: "edit", "aria-label": "Edit this memory", submit: async (event) => {
    event.preventDefault();
    await sending(button, failed, () => save(changes()));
  } },
  labelled("Text", "edit-content", content), tags.field, labelled("Type", "edit-type", type),
  importance.field, confidence.field,
  element("label", { class: "check" }, archived, "Archived: kept, but left out of searches"),
  failed,
  element("p", { class: "actions" }, button,
    element("button", { type: "button", class: "quiet", click: cancel }, "Cancel")));
  form.addEventListener("keydown", (event) => { if (event.key === "Escape") cancel(); });
  return form;
}

/** Return a choice of the types a memory can have. */
export function typeField(chosen) {
  const field = element("select", {}, ...TYPES.map((type) => element("option", { value: type }, type)));
  field.value = chosen;
  return field;
}

/** Send a form once, and show beside it why that failed. */
export async function sending(button, failed, send) {
  if (button.disabled) return;
  button.disabled = true;
  failed.replaceChildren();
  try {
    await send();
  } catch (error) {
    failed.replaceChildren(failure(error.message));
  } finally {
    button.disabled = false;
  }
}

function some(list) {
  return list.length ? list : undefined;
}

function rowsFor(text) {
  return Math.min(16, Math.max(4, Math.ceil(text.length / 70)));
}
