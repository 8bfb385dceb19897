// Memories in a list, each with what is known of it at a glance.

import { element, stored } from "./elements.js";
import { addressOf, address } from "./route.js";
import { bar, table } from "./score.js";
import { when } from "./words.js";

const SHOWN = 280;
const TAGS_SHOWN = 12;
let opened = null;

/** Return one memory of a list; with a scale, also why it was found. */
export function card(memory, scale = null) {
  const link = element("a", {
    class: "card-link", href: addressOf(memory.id), click: () => { opened = memory.id; },
  }, stored(memory.content, SHOWN));
  const made = element("li", { class: "card" }, element("p", { class: "card-text" }, link));
  if (scale !== null) made.append(why(memory, scale));
  made.append(facts(memory));
  return made;
}

function why(memory, scale) {
  const { explanation } = memory;
  return element("div", { class: "why" },
    element("div", { class: "score" }, bar(explanation, scale),
      element("span", { class: "score-number", "aria-hidden": "true" }, explanation.score.toFixed(3))),
    element("details", {}, element("summary", {}, "Why"), table(explanation)));
}

/** Return type, namespace, tags and times of a memory, in one line. */
export function facts(memory) {
  const shown = memory.tags.slice(0, TAGS_SHOWN);
  const rest = memory.tags.length - shown.length;
  const line = element("div", { class: "facts" }, typeOf(memory.memory_type));
  if (memory.archived) line.append(element("span", { class: "badge" }, "archived"));
  if (memory.namespace) line.append(element("span", {}, stored(memory.namespace, 80)));
  if (shown.length) {
    line.append(element("ul", { class: "chips", "aria-label": "Tags" }, ...shown.map(tag),
      rest > 0 ? element("li", {}, `and ${rest} more`) : null));
  }
  line.append(element("span", {}, `importance ${memory.importance.toFixed(2)}`), when(memory.created_at));
  return line;
}

/** Return a type as it is shown everywhere. */
export function typeOf(name) {
  return element("span", { class: `type type-${name}` }, name);
}

function tag(name) {
  const params = new URLSearchParams({ tags_all: name });
  return element("li", { class: "chip" }, element("a", { href: address("", params) }, stored(name, 60)));
}

/** Put the focus back on the memory that was opened from this list; tell whether it is there. */
export function focusOpened(list) {
  const link = [...list.querySelectorAll(".card-link")]
    .find((one) => opened !== null && one.getAttribute("href") === addressOf(opened));
  link?.focus();
  return link !== undefined;
}

/** Let the arrow keys go from one memory of a list to the next, and up from the first. */
export function arrows(list, above) {
  list.addEventListener("keydown", (event) => {
    const links = [...list.querySelectorAll(".card-link")];
    const at = links.indexOf(document.activeElement);
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (at < 0 || step === undefined) return;
    event.preventDefault();
    (links[at + step] ?? (step < 0 ? above : links[at])).focus();
  });
}
