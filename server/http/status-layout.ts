/** How the status page looks, and its numbers as text. Not what it tells. */

const STYLE = `
:root { color-scheme: light dark; --text: #1d2330; --soft: #5c6577; --line: #dfe3ea; --card: #f6f7f9;
  --good: #1b7a3a; --goodback: #e1f3e6; --bad: #a8261c; --badback: #fbe6e4; --link: #1d56c9; --page: #fff;
  font: 15px/1.5 system-ui, sans-serif; }
@media (prefers-color-scheme: dark) {
  :root { --text: #e4e7ee; --soft: #98a1b3; --line: #333a48; --card: #1f242e; --good: #7ed695;
    --goodback: #16351f; --bad: #ff9d94; --badback: #43201d; --link: #8db4ff; --page: #14171d; }
}
body { max-width: 68rem; margin: 0 auto; padding: 1.5rem 1rem 3rem; color: var(--text); background: var(--page); }
header { display: flex; flex-wrap: wrap; align-items: baseline; gap: .75rem; margin-bottom: 1rem; }
h1 { font-size: 1.5rem; margin: 0; } h2 { font-size: 1.15rem; margin: 0 0 .75rem; }
h1 small, h2 small { color: var(--soft); font-weight: normal; font-size: .8em; }
nav { margin-left: auto; display: flex; gap: 1rem; } a { color: var(--link); }
section { margin-top: 2rem; border-top: 1px solid var(--line); padding-top: 1.25rem; }
dl { display: grid; grid-template-columns: repeat(auto-fit, minmax(7.2rem, 1fr)); gap: .5rem; margin: 0 0 1rem; }
dl div { background: var(--card); border-radius: .5rem; padding: .5rem .75rem; }
dt { color: var(--soft); font-size: .8rem; } dd { margin: 0; font-size: 1.1rem; font-variant-numeric: tabular-nums; }
.table { overflow-x: auto; } table { border-collapse: collapse; width: 100%; white-space: nowrap; }
th, td { text-align: left; padding: .3rem 1rem .3rem 0; border-bottom: 1px solid var(--line); }
th { color: var(--soft); font-weight: normal; font-size: .8rem; } td { font-variant-numeric: tabular-nums; }
code { font-size: .9em; } p { color: var(--soft); }
.ready, .unavailable { border-radius: 1rem; padding: .05rem .6rem; font-size: .85rem; }
.ready { color: var(--good); background: var(--goodback); }
.unavailable { color: var(--bad); background: var(--badback); }`;

/** @param title plain text; @param body markup. Read anew every five seconds. */
export function renderDocument(title: string, body: string): string {
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>${title}</title>
<meta name="viewport" content="width=device-width, initial-scale=1"><meta http-equiv="refresh" content="5">
<style>${STYLE}</style></head>
<body>${body}
</body></html>
`;
}

/** A named number; both are plain text of ours. */
export function factText(name: string, value: string): string {
  return `<div><dt>${name}</dt><dd>${value}</dd></div>`;
}

/** `0`, `0.4`, `17`, `12,345`. */
export function numberText(value: number): string {
  return value.toLocaleString("en-GB", { maximumFractionDigits: value < 10 ? 1 : 0 });
}

const BYTE_UNITS = ["B", "KiB", "MiB", "GiB", "TiB"];

export function byteText(bytes: number): string {
  const power = Math.min(BYTE_UNITS.length - 1, Math.floor(Math.log2(Math.max(1, bytes)) / 10));
  return `${numberText(bytes / 2 ** (10 * power))} ${BYTE_UNITS[power]}`;
}

/** Largest unit of which there is one. */
const TIME_UNITS = [
  ["d", 86_400],
  ["h", 3600],
  ["min", 60],
  ["s", 1],
  ["ms", 1e-3],
  ["µs", 1e-6],
] as const;

/** `3 d`, `12 s`, `2.5 ms`, `50 µs`. */
export function durationText(seconds: number): string {
  // Half a thousandth above, since 0.001 times 1000 need not be 1.
  const [unit, size] = TIME_UNITS.find(([, least]) => seconds * 1.0005 >= least) ?? ["µs", 1e-6];
  return `${numberText(Math.max(0, seconds) / size)} ${unit}`;
}

/** `1 agent`, `2 agents`. */
export function plural(count: number, noun: string): string {
  return `${numberText(count)} ${noun}${count === 1 ? "" : "s"}`;
}
