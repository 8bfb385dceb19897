// Memories: all of them, newest first, or those that a question finds, while it is being typed.

import * as api from "./api.js";
import { arrows, card, focusOpened } from "./cards.js";
import { element, failure, heading } from "./elements.js";
import { asBody, conditions, filterForm } from "./filters.js";
import { rename } from "./route.js";
import { legend, scaleOf } from "./score.js";
import { counted } from "./words.js";

const PAUSE_MS = 180;
const PAGE = 25;
const FOUND = 10;
const FOUND_MAX = 1000;

/** Show the view in a place; resolves when its first answer is there. */
export async function show(place, { params, returned }, signal) {
  const view = new Search(place, params, signal);
  await view.refresh();
  if (returned) focusOpened(view.list);
}

class Search {
  constructor(place, params, signal) {
    this.filters = conditions(params);
    this.offset = Math.max(0, Number.parseInt(params.get("offset") ?? "0", 10) || 0);
    this.k = FOUND;
    this.signal = signal;
    this.turn = 0;
    this.input = element("input", {
      type: "search", id: "query", value: params.get("q") ?? "", autocomplete: "off",
      spellcheck: "false", placeholder: "Where did the cat sleep?",
      input: () => this.typed(), keydown: (event) => this.pressed(event),
    });
    this.count = element("p", { class: "count", role: "status" });
    this.list = element("ol", { class: "cards", "aria-label": "Memories" });
    this.legend = legend();
    this.pages = element("nav", { class: "pages", "aria-label": "Pages" });
    place.replaceChildren(
      heading("Memories"),
      element("form", { role: "search", class: "search", submit: (event) => this.entered(event) },
        element("label", { for: "query" }, "Search by meaning and by words"), this.input),
      filterForm(params, (filters) => this.filtered(filters)),
      this.count, this.legend, this.list, this.pages,
    );
    arrows(this.list, this.input);
  }

  get query() {
    return this.input.value.trim();
  }

  typed() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.restart(), PAUSE_MS);
  }

  entered(event) {
    event.preventDefault();
    clearTimeout(this.timer);
    this.restart();
  }

  pressed(event) {
    const first = this.list.querySelector(".card-link");
    if (event.key !== "ArrowDown" || first === null) return;
    event.preventDefault();
    first.focus();
  }

  filtered(filters) {
    this.filters = filters;
    this.restart();
  }

  restart() {
    this.offset = 0;
    this.k = FOUND;
    this.refresh();
  }

  /** Ask for what is wanted now and show it, unless something else is wanted by then. */
  async refresh() {
    if (this.signal.aborted) return;
    const turn = (this.turn += 1);
    this.pending?.abort();
    this.pending = new AbortController();
    const signal = AbortSignal.any([this.signal, this.pending.signal]);
    rename("", this.address());
    this.list.setAttribute("aria-busy", "true");
    try {
      const show = this.query ? await this.find(signal) : await this.browse(signal);
      if (turn === this.turn) show();
    } catch (error) {
      if (turn === this.turn && !api.isDropped(error)) this.fail(error);
    } finally {
      if (turn === this.turn) this.list.removeAttribute("aria-busy");
    }
  }

  address() {
    const params = new URLSearchParams(this.filters);
    if (this.query) params.set("q", this.query);
    else if (this.offset) params.set("offset", this.offset);
    return params;
  }

  async find(signal) {
    const { query, k } = this;
    // Looking is no use: what is found here does not rise in later searches for it.
    const body = { query, k, track: false, ...asBody(this.filters) };
    const memories = await api.recall(body, signal);
    return () => {
      const scale = scaleOf(memories.map((memory) => memory.explanation));
      this.list.replaceChildren(...memories.map((memory) => card(memory, scale)));
      this.legend.hidden = memories.length === 0;
      this.count.textContent = memories.length
        ? `${counted(memories.length, "memory", "memories")} for “${query}”, best first`
        : `Nothing found for “${query}”`;
      const more = memories.length === k && k < FOUND_MAX ? [this.more()] : [];
      this.pages.replaceChildren(...more);
    };
  }

  more() {
    return element("button", { type: "button", class: "quiet", click: async () => {
      const before = this.list.children.length;
      this.k = Math.min(FOUND_MAX, this.k * 2);
      await this.refresh();
      this.list.children[before]?.querySelector(".card-link")?.focus();
    } }, "Show more");
  }

  async browse(signal) {
    const params = new URLSearchParams(this.filters);
    params.set("order", "recent");
    params.set("limit", PAGE);
    params.set("offset", this.offset);
    const { memories, total } = await api.list(params, signal);
    return () => {
      this.list.replaceChildren(...memories.map((memory) => card(memory)));
      this.legend.hidden = true;
      this.count.textContent = this.told(memories.length, total);
      this.pages.replaceChildren(...this.turns(total));
    };
  }

  told(shown, total) {
    if (total === 0) return this.filters.size ? "Nothing matches the filters" : "Nothing learned yet";
    const all = counted(total, "memory", "memories");
    if (shown === total) return `${all}, newest first`;
    return `${this.offset + 1} to ${this.offset + shown} of ${all}, newest first`;
  }

  turns(total) {
    const turn = (label, offset) => element("button", {
      type: "button", class: "quiet", disabled: offset < 0 || offset >= total,
      click: async () => {
        this.offset = offset;
        await this.refresh();
        this.list.querySelector(".card-link")?.focus();
      },
    }, label);
    if (total <= PAGE) return [];
    return [turn("Newer", this.offset - PAGE), turn("Older", this.offset + PAGE)];
  }

  fail(error) {
    this.list.replaceChildren();
    this.pages.replaceChildren();
    this.legend.hidden = true;
    this.count.replaceChildren(failure(error.message, () => this.refresh()));
  }
}
