// Numbers and times in words, as the reader's own language writes them.

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

const long = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
const day = new Intl.DateTimeFormat(undefined, { dateStyle: "medium" });
const whole = new Intl.NumberFormat();
const relative = new Intl.RelativeTimeFormat(undefined, { numeric: "auto" });

/** Return "12 memories", "1 memory". */
export function counted(number, one, many) {
  return `${whole.format(number)} ${number === 1 ? one : many}`;
}

/** Return a time element that says how long ago, and on hovering when. */
export function when(iso) {
  const made = document.createElement("time");
  made.dateTime = iso;
  made.title = long.format(new Date(iso));
  made.textContent = ago(new Date(iso));
  return made;
}

function ago(moment) {
  const passed = moment - Date.now();
  const distance = Math.abs(passed);
  if (distance < HOUR) return relative.format(Math.round(passed / MINUTE), "minute");
  if (distance < DAY) return relative.format(Math.round(passed / HOUR), "hour");
  if (distance < 30 * DAY) return relative.format(Math.round(passed / DAY), "day");
  return day.format(moment);
}

/** Return a moment in full. */
export function exactly(iso) {
  return long.format(new Date(iso));
}

/** Return a day. */
export function onDay(moment) {
  return day.format(moment);
}

/** Return a number of bytes in the unit that suits it. */
export function bytes(number) {
  const units = ["bytes", "kB", "MB", "GB"];
  const power = Math.min(units.length - 1, Math.floor(Math.log10(Math.max(1, number)) / 3));
  return `${(number / 1000 ** power).toFixed(power ? 1 : 0)} ${units[power]}`;
}

/** Return a number with its sign. */
export function signed(number) {
  return `${number < 0 ? "−" : "+"}${Math.abs(number).toFixed(3)}`;
}
