/** Numbers as a person reads them: on a terminal, in a table, on an axis. Not for files that a program reads. */

/** How many digits of a number carry meaning: 3 unless said otherwise. Trailing zeros are never written. */
export interface Precision {
  readonly digits?: number;
}

const METRIC = [
  [1e9, "G"],
  [1e6, "M"],
  [1e3, "k"],
] as const;
const BINARY = [
  [2 ** 40, " TiB"],
  [2 ** 30, " GiB"],
  [2 ** 20, " MiB"],
  [2 ** 10, " KiB"],
] as const;
const SECONDS = [
  [60e6, " min"],
  [1e6, " s"],
  [1e3, " ms"],
] as const;

/** `12.3k`, `4.5M`, `950`, `0.012`. */
export function formatCount(count: number, { digits = 3 }: Precision = {}): string {
  return withUnit(count, METRIC, "", digits);
}

/** `1.5 MiB`, `512 B`: powers of 1024. */
export function formatBytes(bytes: number, { digits = 3 }: Precision = {}): string {
  return withUnit(bytes, BINARY, " B", digits);
}

/** A time in microseconds as `850 ns`, `12.3 µs`, `4.5 ms`, `6 s` or `2 min`. */
export function formatMicroseconds(microseconds: number, { digits = 3 }: Precision = {}): string {
  const size = Math.abs(Number(microseconds.toPrecision(digits)));
  if (size > 0 && size < 1) return `${rounded(microseconds * 1e3, digits)} ns`;
  return withUnit(microseconds, SECONDS, " µs", digits);
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
  digits: number,
): string {
  if (!Number.isFinite(value)) return notFinite(value);
  const isLarge = ([least]: readonly [number, string]): boolean =>
    Number((Math.abs(value) / least).toPrecision(digits)) >= 1;
  const [divisor, unit] = units.find(isLarge) ?? [1, smallest];
  return `${rounded(value / divisor, digits)}${unit}`;
}

function rounded(value: number, digits: number): string {
  const size = Math.abs(Number(value.toPrecision(digits)));
  const text = size >= 1e-4 || size === 0 ? String(size) : size.toExponential();
  return value < 0 ? `−${text}` : text;
}

function notFinite(value: number): string {
  if (Number.isNaN(value)) return "–";
  return value > 0 ? "∞" : "−∞";
}
