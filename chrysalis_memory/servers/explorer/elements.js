// Elements from plain values. Text is always set as text, so nothing that is stored can be markup.

const SVG = "http://www.w3.org/2000/svg";
const PROPERTIES = new Set(["value", "checked", "disabled", "hidden", "open", "required"]);

function fill(made, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined) continue;
    if (typeof value === "function") made.addEventListener(name, value);
    else if (PROPERTIES.has(name)) made[name] = value;
    else made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

/** Return an HTML element. A function as an attribute listens to the event of that name. */
export function element(name, attributes = {}, ...children) {
  return fill(document.createElement(name), attributes, children);
}

/** Return an SVG element. */
export function drawn(name, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, name), attributes, children);
}

/** Return stored text so that its direction of writing stays inside of it. */
export function stored(text, longest = Infinity) {
  const cut = text.length > longest ? `${text.slice(0, longest).trimEnd()}…` : text;
  return element("bdi", {}, cut);
}

/** Return a label and its control, which is given an id. */
export function labelled(text, id, control, hint = null) {
  control.id = id;
  if (hint !== null) control.setAttribute("aria-describedby", `${id}-hint`);
  const told = hint === null ? null : element("p", { id: `${id}-hint`, class: "hint" }, hint);
  return element("div", { class: "field" }, element("label", { for: id }, text), control, told);
}

/** Return a control for a number from 0 to 1, with its value beside it. */
export function slider(text, id, value, changed = () => {}) {
  const output = element("output", { for: id }, Number(value).toFixed(2));
  const control = element("input", {
    type: "range", min: "0", max: "1", step: "0.05", value: String(value),
    input: () => { output.textContent = Number(control.value).toFixed(2); },
    change: () => changed(control.value),
  });
  control.id = id;
  const label = element("label", { for: id }, text);
  const field = element("div", { class: "field slider" }, label, control, output);
  return { field, control };
}

/** Return a heading that can take the focus when its view is shown. */
export function heading(text) {
  return element("h1", { tabindex: "-1" }, text);
}

/** Return what is said of a failure, with a way to try again where there is one. */
export function failure(message, again = null) {
  const button = again && element("button", { type: "button", click: again }, "Try again");
  return element("div", { class: "error", role: "alert" }, element("p", {}, stored(message)), button);
}
