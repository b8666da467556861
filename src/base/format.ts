/** Numbers as a person reads them: on a terminal, in a table, on an axis. Not for files that a program reads. */

/** Digits that carry meaning in a rounded number. */
const DIGITS = 3;

const METRIC = [
  [1e9, "G"],
  [1e6, "M"],
  [1e3, "k"],
] as const;
const BINARY = [
  [2 ** 40, "TiB"],
  [2 ** 30, "GiB"],
  [2 ** 20, "MiB"],
  [2 ** 10, "KiB"],
] as const;
const SECONDS = [
  [60e6, "min"],
  [1e6, "s"],
  [1e3, "ms"],
] as const;

/** `12.3k`, `4.5M`, `950`, `0.012`; at most three digits that carry meaning, none of them a trailing zero. */
export function formatCount(count: number): string {
  return withUnit(count, METRIC, "", "");
}

/** `1.5 MiB`, `512 B`: powers of 1024. */
export function formatBytes(bytes: number): string {
  return withUnit(bytes, BINARY, "B", " ");
}

/** A time in microseconds as `850 ns`, `12.3 µs`, `4.5 ms`, `6 s` or `2 min`. */
export function formatMicroseconds(microseconds: number): string {
  if (microseconds !== 0 && Math.abs(microseconds) < 0.9995) return `${rounded(microseconds * 1e3)} ns`;
  return withUnit(microseconds, SECONDS, "µs", " ");
}

/** Seconds as `h:mm:ss`; `0:00:00` at least. */
export function formatDuration(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds));
  const pad = (part: number): string => String(part).padStart(2, "0");
  return `${Math.floor(whole / 3600)}:${pad(Math.floor(whole / 60) % 60)}:${pad(whole % 60)}`;
}

/** `2,310.5` with as many decimals as asked; `–` for what is not a number. */
export function formatFixed(value: number, decimals: number): string {
  if (!Number.isFinite(value)) return notFinite(value);
  const [whole = "", part] = Math.abs(value).toFixed(decimals).split(".");
  const grouped = whole.replace(/\B(?=(\d{3})+$)/g, ",");
  const text = part === undefined ? grouped : `${grouped}.${part}`;
  return value < 0 && /[1-9]/.test(text) ? `−${text}` : text;
}

/** The unit is chosen after rounding, so that 999.6 is `1k` and never `1000`. */
function withUnit(
  value: number,
  units: readonly (readonly [number, string])[],
  smallest: string,
  space: string,
): string {
  if (!Number.isFinite(value)) return notFinite(value);
  const size = Number(Math.abs(value).toPrecision(DIGITS));
  const [divisor, unit] = units.find(([least]) => size >= least) ?? [1, smallest];
  return `${rounded(value / divisor)}${unit === "" ? "" : space + unit}`;
}

function rounded(value: number): string {
  const near = Number(value.toPrecision(DIGITS));
  const text = Math.abs(near) >= 1e-4 || near === 0 ? String(Math.abs(near)) : Math.abs(near).toExponential();
  return near < 0 ? `−${text}` : text;
}

function notFinite(value: number): string {
  if (Number.isNaN(value)) return "–";
  return value > 0 ? "∞" : "−∞";
}
