// Spans of time of one length, by the reader's own calendar.

const DAY = 86_400_000;
const UNITS = [
  { days: 1, start: (d) => new Date(d.getFullYear(), d.getMonth(), d.getDate()),
    next: (d) => new Date(d.getFullYear(), d.getMonth(), d.getDate() + 1), name: "day" },
  { days: 7, start: (d) => new Date(d.getFullYear(), d.getMonth(), d.getDate() - ((d.getDay() + 6) % 7)),
    next: (d) => new Date(d.getFullYear(), d.getMonth(), d.getDate() + 7), name: "week" },
  { days: 30.4, start: (d) => new Date(d.getFullYear(), d.getMonth(), 1),
    next: (d) => new Date(d.getFullYear(), d.getMonth() + 1, 1), name: "month" },
  { days: 91.3, start: (d) => new Date(d.getFullYear(), d.getMonth() - (d.getMonth() % 3), 1),
    next: (d) => new Date(d.getFullYear(), d.getMonth() + 3, 1), name: "quarter" },
  { days: 365.25, start: (d) => new Date(d.getFullYear(), 0, 1),
    next: (d) => new Date(d.getFullYear() + 1, 0, 1), name: "year" },
];
const HOUR = { days: 1 / 24, name: "hour",
  start: (d) => new Date(d.getFullYear(), d.getMonth(), d.getDate(), d.getHours()),
  next: (d) => new Date(d.getTime() + DAY / 24) };
const SPANS_MAX = 31;

/** Return spans that hold both moments, in order and without a gap: `{unit, spans: [{from, before}]}`. */
export function spansOf(first, last) {
  const days = (last - first) / DAY;
  const unit = [HOUR, ...UNITS].find((one) => days / one.days < SPANS_MAX - 1) ?? UNITS.at(-1);
  const spans = [];
  for (let from = unit.start(first); from <= last; from = unit.next(from)) {
    spans.push({ from, before: unit.next(from) });
  }
  return { unit: unit.name, spans };
}

const names = {
  hour: new Intl.DateTimeFormat(undefined, { month: "short", day: "numeric", hour: "numeric" }),
  day: new Intl.DateTimeFormat(undefined, { year: "numeric", month: "short", day: "numeric" }),
  month: new Intl.DateTimeFormat(undefined, { year: "numeric", month: "long" }),
  year: new Intl.DateTimeFormat(undefined, { year: "numeric" }),
};

/** Return what a span is called. */
export function nameOf({ from, before }, unit) {
  if (unit === "week" || unit === "quarter") {
    const last = new Date(before.getTime() - 1);
    const format = unit === "week" ? names.day : names.month;
    return format.formatRange(from, last);
  }
  return names[unit].format(from);
}
