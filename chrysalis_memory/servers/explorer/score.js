// Why a memory got its score: the parts, as a bar and as numbers that add up to it.
//
// score = relevance · (1 + effects) · trust, and relevance = meaning + words. So each effect adds
// relevance · effect, what words add is relevance without meaning, and trust takes off the rest.

import { element } from "./elements.js";
import { signed } from "./words.js";

const PARTS = [
  ["meaning", "meaning", "how alike the meaning is"],
  ["words", "words", "words that occur in both"],
  ["importance", "importance", "more than 0.5 raises, less lowers"],
  ["confidence", "confidence", "more than 0.5 raises, less lowers"],
  ["access", "use", "how often it was used"],
  ["age", "age", "what changed lately counts more"],
  ["trust", "trust", "a source that is trusted less lowers"],
];

/** Return what each part adds to the score; together they are the score. */
export function parts(explanation) {
  const { meaning, relevance } = explanation;
  const adds = {
    meaning,
    words: relevance - meaning,
    importance: relevance * explanation.importance_effect,
    confidence: relevance * explanation.confidence_effect,
    access: relevance * explanation.access_effect,
    age: relevance * explanation.recency_effect,
    trust: relevance * explanation.factor * (explanation.trust - 1),
  };
  const shown = PARTS.filter(([name]) => name !== "trust" || explanation.trust !== 1);
  return shown.map(([name, label]) => ({ name, label, adds: adds[name] }));
}

/** Return how long the bars of these explanations get at most; 1, unless one is longer. */
export function scaleOf(explanations) {
  return Math.max(1, ...explanations.map((one) => raised(parts(one))));
}

function raised(all) {
  return all.reduce((sum, part) => sum + Math.max(0, part.adds), 0);
}

/** Return a bar: what raises the score from the left, and what lowers it taken off its end. */
export function bar(explanation, scale) {
  const all = parts(explanation);
  const said = all.map((part) => `${part.label} ${signed(part.adds)}`).join(", ");
  const label = `Score ${explanation.score.toFixed(3)}: ${said}`;
  const track = element("div", { class: "bar", role: "img", "aria-label": label });
  for (const part of all.filter((one) => one.adds > 0)) {
    track.append(segment(`part part-${part.name}`, part.adds / scale, `${part.label} ${signed(part.adds)}`));
  }
  const lowered = raised(all) - explanation.score;
  if (lowered > 1e-9) {
    const off = segment("part part-off", lowered / scale, `taken off ${lowered.toFixed(3)}`);
    off.style.setProperty("--end", `${(100 * explanation.score) / scale}%`);
    track.append(off);
  }
  return track;
}

function segment(kind, share, title) {
  const made = element("span", { class: kind, title });
  made.style.setProperty("--share", `${100 * share}%`);
  return made;
}

/** Return the same as numbers, with what each was computed from. */
export function table(explanation) {
  const rows = parts(explanation).map((part) => element("tr", {},
    element("th", { scope: "row" }, swatch(part.name), part.label),
    element("td", { class: "number" }, signed(part.adds)),
    element("td", {}, from(part.name, explanation)),
  ));
  const total = element("tr", { class: "total" },
    element("th", { scope: "row" }, "score"),
    element("td", { class: "number" }, explanation.score.toFixed(3)),
    element("td", {}, `relevance ${explanation.relevance.toFixed(3)} × ${explanation.factor.toFixed(3)}${trusted(explanation)}`),
  );
  const head = element("tr", {}, ...["part", "adds", "from"].map((name) => element("th", { scope: "col" }, name)));
  return element("table", { class: "parts" }, element("thead", {}, head),
    element("tbody", {}, ...rows, total));
}

function from(name, explanation) {
  if (name === "meaning") return similarity(explanation);
  if (name === "words") return words(explanation);
  if (name === "importance") return `importance ${explanation.importance.toFixed(2)}`;
  if (name === "confidence") return `confidence ${explanation.confidence.toFixed(2)}`;
  if (name === "access") return `used ${explanation.access_count} times`;
  if (name === "trust") return `${explanation.trust.toFixed(3)} in ${explanation.source}`;
  return `${explanation.age_days.toFixed(1)} days old`;
}

function trusted({ trust }) {
  return trust === 1 ? "" : ` × ${trust.toFixed(3)}`;
}

function similarity({ similarity: own, around }) {
  const beside = around === null ? "" : `, with its neighbours ${around.toFixed(3)}`;
  return own === null ? `no vector${beside}` : `similarity ${own.toFixed(3)}${beside}`;
}

function words({ keyword, bm25, late }) {
  const tokens = late === null ? "" : `, tokens ${late.toFixed(3)}`;
  return `${keyword.toFixed(3)} of a full match, BM25 ${bm25.toFixed(2)}${tokens}`;
}

function swatch(name) {
  return element("span", { class: `swatch part-${name}`, "aria-hidden": "true" });
}

/** Return what the colours stand for. */
export function legend() {
  return element("ul", { class: "legend", "aria-label": "Parts of the score" },
    ...PARTS.filter(([name]) => name !== "trust").map(([name, label, meaning]) => element("li", { title: meaning }, swatch(name), label)));
}
