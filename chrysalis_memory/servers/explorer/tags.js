// A field for tags. A tag may hold any character, commas too, so each is entered by itself.

import * as api from "./api.js";
import { element, stored } from "./elements.js";

const SUGGESTED = 200;

/**
 * Return a field that shows tags, adds and removes them.
 *
 * @param {object} options label, id, tags (a list) and changed (called with the list after each change).
 * @returns {{field: HTMLElement, tags: () => string[]}} The element, and what it holds now, with
 *   what has been typed and not yet been added.
 */
export function tagField({ label, id, tags, changed = () => {} }) {
  const held = [...tags];
  const chips = element("ul", { class: "chips", "aria-label": label });
  const input = element("input", { id, type: "text", list: `${id}-known`, autocomplete: "off" });
  const add = element("button", { type: "button", class: "quiet", click: addTyped }, "Add");
  const suggested = element("datalist", { id: `${id}-known` });

  function addTyped() {
    const tag = input.value.trim();
    input.value = "";
    if (tag === "" || held.includes(tag)) return;
    held.push(tag);
    show();
    changed([...held]);
  }

  function remove(tag) {
    held.splice(held.indexOf(tag), 1);
    show();
    input.focus();
    changed([...held]);
  }

  function show() {
    chips.replaceChildren(...held.map((tag) => element("li", { class: "chip" },
      stored(tag, 80),
      element("button", { type: "button", "aria-label": `Remove ${tag}`, click: () => remove(tag) }, "×"),
    )));
  }

  input.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || input.value.trim() === "") return;
    event.preventDefault();
    addTyped();
  });
  show();
  const field = element("div", { class: "field" },
    element("label", { for: id }, label), chips,
    element("div", { class: "beside" }, input, add), suggested);
  return {
    field,
    tags: () => [...new Set([...held, input.value.trim()])].filter((tag) => tag !== ""),
  };
}

/** Suggest the commonest tags in the field that a place holds. */
export async function suggest(place, signal = undefined) {
  const known = await api.tags(new URLSearchParams(), signal);
  const options = known.slice(0, SUGGESTED).map(([tag]) => element("option", { value: tag }));
  place.querySelector("datalist").replaceChildren(...options);
}
