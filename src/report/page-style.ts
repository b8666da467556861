/** The style sheet of every report page. */
import { FONT, INK } from "./theme.ts";

export const PAGE_STYLE = `
:root {
  color-scheme: light dark;
  --text: ${INK.text.light}; --muted: ${INK.muted.light}; --grid: ${INK.grid.light};
  --paper: #ffffff; --panel: #f6f8fa; --accent: #0854d4; --tint: #eaf1fd;
}
@media (prefers-color-scheme: dark) {
  :root {
    --text: ${INK.text.dark}; --muted: ${INK.muted.dark}; --grid: ${INK.grid.dark};
    --paper: #14181d; --panel: #1b2027; --accent: #4391fa; --tint: #18273f;
  }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--text); font: 16px/1.55 ${FONT}; }
main { max-width: 58rem; margin: 0 auto; padding: 3rem 1.5rem 5rem; }
h1 { font-size: 1.9rem; line-height: 1.2; letter-spacing: -0.01em; margin: 0 0 0.5rem; }
h2 { font-size: 1.25rem; line-height: 1.3; margin: 3.25rem 0 0.75rem; padding-top: 1rem; border-top: 1px solid var(--grid); }
p { margin: 0.75rem 0; max-width: 44rem; }
.summary { font-size: 1.1rem; color: var(--muted); }
.advice { background: var(--tint); border-left: 4px solid var(--accent); border-radius: 0 6px 6px 0; padding: 0.9rem 1.25rem; margin: 1.75rem 0; }
.advice p { font-size: 1.1rem; font-weight: 600; margin: 0; }
.advice ul { margin: 0.5rem 0 0; padding-left: 1.2rem; }
.highlights { display: flex; flex-wrap: wrap; gap: 1rem 2.75rem; margin: 1.75rem 0 0; }
.highlights div { display: flex; flex-direction: column-reverse; }
.highlights dd { margin: 0; font-size: 1.7rem; line-height: 1.25; font-weight: 600; font-variant-numeric: tabular-nums; }
.highlights dt { font-size: 0.875rem; color: var(--muted); }
figure { margin: 1.5rem 0 2rem; }
figcaption { color: var(--muted); font-size: 0.875rem; margin-top: 0.6rem; max-width: 44rem; }
.wide { overflow-x: auto; }
.wide > svg { display: block; min-width: 34rem; }
.side { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(20rem, 100%), 1fr)); gap: 1.75rem 2rem; }
.side > svg { width: 100%; }
table { border-collapse: collapse; font-size: 0.9375rem; font-variant-numeric: tabular-nums; }
th, td { padding: 0.4rem 1.1rem 0.4rem 0; text-align: left; white-space: nowrap; vertical-align: baseline; }
th:first-child, td:first-child { padding-left: 0.6rem; }
th { color: var(--muted); font-weight: 500; font-size: 0.875rem; border-bottom: 1px solid var(--muted); }
td { border-bottom: 1px solid var(--grid); }
.number { text-align: right; }
.strong td { background: var(--tint); font-weight: 600; }
pre { background: var(--panel); border-radius: 6px; padding: 0.8rem 1rem; font-size: 0.875rem; line-height: 1.5; }
code { font-family: ui-monospace, "SF Mono", Menlo, Consolas, monospace; }
.facts { margin: 1rem 0; }
.facts div { display: grid; grid-template-columns: 11rem 1fr; gap: 1rem; padding: 0.35rem 0; border-bottom: 1px solid var(--grid); }
.facts dt { color: var(--muted); }
.facts dd { margin: 0; overflow-wrap: anywhere; }
@media (max-width: 36rem) { main { padding: 1.75rem 1rem 3rem; } .facts div { grid-template-columns: 1fr; gap: 0; } }
@media print { main { max-width: none; padding: 0; } figure, .advice { break-inside: avoid; } }
`;
