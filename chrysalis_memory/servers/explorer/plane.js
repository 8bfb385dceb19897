// Points on a plane: drawn, moved, enlarged, and walked through with the arrow keys.

import { drawn, element, stored } from "./elements.js";

const MARGIN = 24;
const ZOOM_MAX = 40;
const DIRECTIONS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

export class Plane {
  /**
   * @param {Array<{x: number, y: number, label: string, detail: string, text: string}>} points
   * @param {(index: number) => void} open Called when a point is chosen.
   */
  constructor(points, open) {
    this.points = points;
    this.open = open;
    this.zoom = 1;
    this.middle = [0, 0];
    this.at = 0;
    this.tip = element("div", { class: "tip", "aria-hidden": "true", hidden: true });
    this.dots = points.map((point, index) => drawn("circle", {
      role: "option", "aria-label": point.label, "aria-selected": "false",
      tabindex: index === 0 ? "0" : "-1", "data-index": index,
    }));
    this.drawing = drawn("svg", {
      class: "plane", role: "listbox", "aria-label": "Memories by likeness; arrow keys go from one to the next",
    }, ...this.dots);
    this.element = element("div", { class: "plane-box" }, this.drawing, this.tip);
    this.listen();
    new ResizeObserver(() => this.lay()).observe(this.drawing);
  }

  /** Give each point the class of its group. */
  colour(kind, groups) {
    this.dots.forEach((dot, index) => dot.setAttribute("class", `dot ${kind}-${groups[index]}`));
  }

  /** Let all points step back but those of one group; of none when it is null. */
  stress(groups, group) {
    this.dots.forEach((dot, index) => dot.classList.toggle("faint", group !== null && groups[index] !== group));
  }

  // Where points are

  lay() {
    const { width, height } = this.drawing.getBoundingClientRect();
    if (!width || !height) return;
    this.drawing.setAttribute("viewBox", `0 0 ${width} ${height}`);
    const [left, right] = range(this.points.map((point) => point.x));
    const [low, high] = range(this.points.map((point) => point.y));
    // One unit for both directions, so that distances can be compared.
    const unit = this.zoom * Math.min((width - 2 * MARGIN) / (right - left), (height - 2 * MARGIN) / (high - low));
    const [x0, y0] = [(left + right) / 2 + this.middle[0], (low + high) / 2 + this.middle[1]];
    this.unit = unit;
    this.places = this.points.map(({ x, y }) => [width / 2 + (x - x0) * unit, height / 2 - (y - y0) * unit]);
    this.dots.forEach((dot, index) => {
      dot.setAttribute("cx", this.places[index][0].toFixed(1));
      dot.setAttribute("cy", this.places[index][1].toFixed(1));
    });
    this.hide();
  }

  enlarge(times) {
    this.zoom = Math.min(ZOOM_MAX, Math.max(1, this.zoom * times));
    if (this.zoom === 1) this.middle = [0, 0];
    this.lay();
  }

  reset() {
    this.zoom = 1;
    this.middle = [0, 0];
    this.lay();
  }

  move(dx, dy) {
    if (this.zoom === 1) return;
    this.middle = [this.middle[0] - dx / this.unit, this.middle[1] + dy / this.unit];
    this.lay();
  }

  // Keys and pointer

  listen() {
    const indexOf = (event) => Number(event.target.dataset?.index ?? -1);
    this.drawing.addEventListener("keydown", (event) => this.pressed(event));
    this.drawing.addEventListener("focusin", (event) => this.reached(indexOf(event)));
    this.drawing.addEventListener("focusout", () => this.hide());
    this.drawing.addEventListener("pointerover", (event) => this.point(indexOf(event)));
    this.element.addEventListener("pointerleave", () => this.hide());
    this.drawing.addEventListener("click", (event) => {
      if (!this.dragged && indexOf(event) >= 0) this.open(indexOf(event));
    });
    this.drawing.addEventListener("pointerdown", (event) => this.drag(event));
  }

  pressed(event) {
    if (event.key === "Enter" || event.key === " ") this.open(this.at);
    else if (event.key === "Escape") this.hide();
    else if (event.key === "+" || event.key === "-") this.enlarge(event.key === "+" ? 1.5 : 1 / 1.5);
    else if (event.key === "Home") this.dots[0].focus();
    else if (event.key === "End") this.dots.at(-1).focus();
    else if (event.key === "PageDown") this.dots[Math.min(this.at + 1, this.dots.length - 1)].focus();
    else if (event.key === "PageUp") this.dots[Math.max(this.at - 1, 0)].focus();
    else if (DIRECTIONS[event.key]) this.dots[this.next(DIRECTIONS[event.key])].focus();
    else return;
    event.preventDefault();
  }

  /** Return the nearest point in a direction, or this one; what lies aside counts as further away. */
  next([right, down]) {
    const [x, y] = this.places[this.at];
    let [best, nearest] = [this.at, Infinity];
    this.places.forEach(([px, py], index) => {
      const along = (px - x) * right + (py - y) * down;
      const across = Math.abs((px - x) * down) + Math.abs((py - y) * right);
      const distance = along + 2 * across;
      if (along > 0 && distance < nearest) {
        [best, nearest] = [index, distance];
      }
    });
    return best;
  }

  reached(index) {
    if (index < 0) return;
    this.dots[this.at].setAttribute("tabindex", "-1");
    this.dots[this.at].setAttribute("aria-selected", "false");
    this.at = index;
    this.dots[index].setAttribute("tabindex", "0");
    this.dots[index].setAttribute("aria-selected", "true");
    this.bring(index);
    this.point(index);
  }

  /** Move the plane where a point that was reached by a key lies outside of it. */
  bring(index) {
    const { width, height } = this.drawing.getBoundingClientRect();
    const [x, y] = this.places[index];
    if (x < 0 || y < 0 || x > width || y > height) this.move(width / 2 - x, height / 2 - y);
  }

  drag(event) {
    this.dragged = false;
    if (this.zoom === 1) return;
    let [x, y] = [event.clientX, event.clientY];
    const ending = new AbortController();
    addEventListener("pointermove", (moved) => {
      this.dragged ||= Math.abs(moved.clientX - x) + Math.abs(moved.clientY - y) > 3;
      if (!this.dragged) return;
      this.move(moved.clientX - x, moved.clientY - y);
      [x, y] = [moved.clientX, moved.clientY];
    }, { signal: ending.signal });
    for (const name of ["pointerup", "pointercancel"]) {
      addEventListener(name, () => ending.abort(), { signal: ending.signal });
    }
  }

  // What is told of a point

  point(index) {
    if (index < 0) return;
    const [x, y] = this.places[index];
    const { width } = this.drawing.getBoundingClientRect();
    const { text, detail } = this.points[index];
    this.tip.replaceChildren(element("p", {}, stored(text)), element("p", { class: "hint" }, stored(detail)));
    this.tip.style.setProperty("--left", `${Math.min(Math.max(0, x - 130), Math.max(0, width - 260))}px`);
    this.tip.style.setProperty("--top", `${y + 14}px`);
    this.tip.hidden = false;
  }

  hide() {
    this.tip.hidden = true;
  }
}

function range(numbers) {
  const [low, high] = [Math.min(...numbers), Math.max(...numbers)];
  return high > low ? [low, high] : [low - 0.5, high + 0.5];
}
