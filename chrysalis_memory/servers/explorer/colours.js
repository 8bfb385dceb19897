// Groups of points that are drawn in one colour: by type, by tag, or by time.

import { TYPES } from "./filters.js";
import { onDay } from "./words.js";

const TAGS_SHOWN = 7;
const SPANS = 5;

export const WAYS = [["type", byType], ["tag", byTag], ["time", byTime]];

/**
 * Return the groups of points, and for each point which it is in.
 *
 * @returns {{names: string[], kind: string, of: number[]}} kind is the CSS class of a colour
 *   without its number; the last group of tags holds those that have none of the commonest.
 */
export function grouped(way, points) {
  return WAYS.find(([name]) => name === way)[1](points);
}

function byType(points) {
  return { names: TYPES, kind: "series", of: points.map((point) => TYPES.indexOf(point.memory_type)) };
}

function byTag(points) {
  const counts = new Map();
  for (const { tags } of points) {
    for (const tag of tags) counts.set(tag, (counts.get(tag) ?? 0) + 1);
  }
  const common = [...counts].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1))
    .slice(0, TAGS_SHOWN).map(([tag]) => tag);
  const of = points.map(({ tags }) => {
    const first = common.findIndex((tag) => tags.includes(tag));
    return first < 0 ? common.length : first;
  });
  return { names: [...common, "none of these"], kind: "series", of, rest: common.length };
}

function byTime(points) {
  const times = points.map((point) => Date.parse(point.created_at));
  const first = Math.min(...times);
  const length = Math.max(1, Math.max(...times) - first) / SPANS;
  const names = Array.from({ length: SPANS }, (_, span) => `from ${onDay(new Date(first + span * length))}`);
  const of = times.map((time) => Math.min(SPANS - 1, Math.floor((time - first) / length)));
  return { names, kind: "time", of };
}
