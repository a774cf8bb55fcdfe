// Numbers and times as people read them, in their own zone and language.

const UNITS = ["B", "kB", "MB", "GB", "TB", "PB"];

const WHOLE = new Intl.NumberFormat(undefined, { maximumFractionDigits: 0 });
const TENTHS = new Intl.NumberFormat(undefined, { maximumFractionDigits: 1, minimumFractionDigits: 1 });
const MOMENT = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
const CLOCK = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const HOUR = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const DAY = new Intl.DateTimeFormat(undefined, { month: "short", day: "numeric" });

export const NONE = "–";

/** `1.2 MB` */
export function bytes(count) {
  let unit = 0;
  let value = Math.max(0, count);
  while (value >= 999.5 && unit < UNITS.length - 1) {
    value /= 1000;
    unit += 1;
  }
  const text = unit === 0 || value >= 99.95 ? WHOLE.format(value) : TENTHS.format(value);
  return `${text} ${UNITS[unit]}`;
}

/** `1.2 MB/s` */
export function rate(perSecond) {
  return `${bytes(perSecond)}/s`;
}

/** `1,204`, or `12.4k` where it is long. */
export function count(number) {
  if (number < 100_000) return WHOLE.format(number);
  if (number < 999_500) return `${WHOLE.format(number / 1000)}k`;
  return `${TENTHS.format(number / 1_000_000)}M`;
}

/** How often in a second: `0.3`, `17`. */
export function often(perSecond) {
  if (perSecond === 0) return "0";
  return perSecond < 9.95 ? TENTHS.format(perSecond) : count(perSecond);
}

/** A length of time that somebody waits: `3.1 ms`, `2.4 s`. */
export function wait(seconds) {
  if (seconds === null || seconds === undefined || !Number.isFinite(seconds)) return NONE;
  const ms = seconds * 1000;
  if (ms < 0.95) return "<1 ms";
  if (ms < 9.95) return `${TENTHS.format(ms)} ms`;
  if (ms < 999.5) return `${WHOLE.format(ms)} ms`;
  return `${TENTHS.format(seconds)} s`;
}

/** A length of time in its two largest parts: `3 d 4 h`. */
export function span(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const parts = [
    [Math.floor(whole / 86400), "d"],
    [Math.floor(whole / 3600) % 24, "h"],
    [Math.floor(whole / 60) % 60, "min"],
    [whole % 60, "s"],
  ];
  const first = parts.findIndex(([amount]) => amount > 0);
  if (first < 0) return "0 s";
  const shown = parts.slice(first, first + 2).filter(([amount]) => amount > 0);
  return shown.map(([amount, unit]) => `${amount} ${unit}`).join(" ");
}

/** How long ago, or how long from now, a moment is (seconds since 1970). */
export function relative(moment) {
  const away = moment - Date.now() / 1000;
  const about = Math.abs(away);
  if (about < 10) return "just now";
  const [whole] = span(about).split(/(?<=[a-z]) /);
  return away < 0 ? `${whole} ago` : `in ${whole}`;
}

/** A moment (seconds since 1970), whole. */
export function moment(seconds) {
  return MOMENT.format(seconds * 1000);
}

export function clock(seconds) {
  return CLOCK.format(seconds * 1000);
}

/** The moment as the scale of a graph says it that is `range` seconds wide. */
export function tick(seconds, range) {
  if (range > 2 * 86400) return DAY.format(seconds * 1000);
  return range > 600 ? HOUR.format(seconds * 1000) : CLOCK.format(seconds * 1000);
}

export function iso(seconds) {
  return new Date(seconds * 1000).toISOString();
}

/** `1 tunnel`, `2 tunnels` */
export function many(number, one, more = `${one}s`) {
  return `${count(number)} ${number === 1 ? one : more}`;
}
