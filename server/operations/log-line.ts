/** A line of the log for a person at a terminal, from its JSON. Nothing in it can move the cursor or start a line. */

const COLOURS: Readonly<Record<string, number>> = { debug: 90, info: 36, warn: 33, error: 31 };

/** Shown apart, or not at all. */
const HEAD = ["level", "time", "event", "stack"];

/** `12:34:56.789 info  model loaded model=team ms=12`; a stack follows on lines of its own. */
export function humanLine(json: string, colour: boolean): string {
  // The log wrote it a moment ago.
  const entry = JSON.parse(json) as Readonly<Record<string, unknown>>;
  const level = String(entry["level"]);
  const time = String(entry["time"]).slice(11, 23);
  const paint = (text: string): string => (colour ? `\u001b[${COLOURS[level] ?? 0}m${text}\u001b[0m` : text);
  const event = String(entry["event"]).replaceAll("_", " ");
  const fields = Object.entries(entry)
    .filter(([key]) => !HEAD.includes(key))
    .map(([key, value]) => `${key}=${fieldText(value)}`);
  const stack = typeof entry["stack"] === "string" ? stackText(entry["stack"]) : "";
  return `${time} ${paint(level.padEnd(5))} ${[event, ...fields].join(" ")}\n${stack}`;
}

function fieldText(value: unknown): string {
  const text = typeof value === "string" && /^[\w./:@+-]+$/.test(value) ? value : JSON.stringify(value);
  return visible(text);
}

function stackText(stack: string): string {
  return stack
    .split("\n")
    .map((line) => `    ${visible(line.trim())}\n`)
    .join("");
}

/** Control characters and marks of writing direction as their codes: names come from clients and files. */
function visible(text: string): string {
  return text.replace(
    /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}
