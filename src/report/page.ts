/** A report as one HTML file that needs nothing else: no script, no request, light and dark. Not what it reports. */
import { escapeMarkup } from "../base/markup.ts";
import { PAGE_STYLE } from "./page-style.ts";
import { type Table, writeTable } from "./table.ts";

/** What a section holds, one under another. */
export type Block =
  | { readonly kind: "text"; readonly text: string }
  /** `svg` comes from `plot.ts` or `bars.ts` and is put in as it is. */
  | { readonly kind: "figure"; readonly svg: string; readonly caption: string }
  /** Side by side where there is room. */
  | { readonly kind: "figures"; readonly svgs: readonly string[]; readonly caption: string }
  | { readonly kind: "table"; readonly table: Table; readonly caption: string }
  | { readonly kind: "code"; readonly code: string };

export interface Section {
  readonly heading: string;
  readonly blocks: readonly Block[];
}

export interface Page {
  readonly title: string;
  /** One or two sentences: what this is and what came of it. */
  readonly summary: string;
  /** What the reader should do, and why. */
  readonly advice?: { readonly headline: string; readonly reasons: readonly string[] };
  /** Up to five numbers worth remembering. */
  readonly highlights?: readonly { readonly value: string; readonly label: string }[];
  readonly sections: readonly Section[];
  /** The last section, "How it was measured": machine, versions, rounds; then the commands that do it again. */
  readonly measured?: {
    readonly facts: readonly { readonly name: string; readonly value: string }[];
    readonly commands?: readonly string[];
  };
}

/** The whole file. Every text is escaped. */
export function htmlPage(page: Page): string {
  const body = [
    `<header><h1>${escapeMarkup(page.title)}</h1><p class="summary">${escapeMarkup(page.summary)}</p></header>`,
    page.advice === undefined ? "" : adviceBox(page.advice),
    page.highlights === undefined ? "" : highlights(page.highlights),
    ...page.sections.map(section),
    page.measured === undefined ? "" : measured(page.measured),
  ];
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>${escapeMarkup(page.title)}</title>
<style>${PAGE_STYLE}</style>
</head>
<body>
<main>
${body.filter((part) => part !== "").join("\n")}
</main>
</body>
</html>
`;
}

function adviceBox({ headline, reasons }: NonNullable<Page["advice"]>): string {
  const list =
    reasons.length === 0
      ? ""
      : `<ul>${reasons.map((reason) => `<li>${escapeMarkup(reason)}</li>`).join("")}</ul>`;
  return `<aside class="advice" aria-label="Advice"><p>${escapeMarkup(headline)}</p>${list}</aside>`;
}

function highlights(items: NonNullable<Page["highlights"]>): string {
  const tiles = items.map(
    ({ value, label }) => `<div><dt>${escapeMarkup(label)}</dt><dd>${escapeMarkup(value)}</dd></div>`,
  );
  return `<dl class="highlights">${tiles.join("")}</dl>`;
}

function section({ heading, blocks }: Section): string {
  return `<section>\n<h2>${escapeMarkup(heading)}</h2>\n${blocks.map(block).join("\n")}\n</section>`;
}

function block(content: Block): string {
  switch (content.kind) {
    case "text":
      return `<p>${escapeMarkup(content.text)}</p>`;
    case "figure":
      return `<figure><div class="wide">${content.svg}</div><figcaption>${escapeMarkup(content.caption)}</figcaption></figure>`;
    case "figures":
      return `<figure><div class="side">${content.svgs.join("")}</div><figcaption>${escapeMarkup(content.caption)}</figcaption></figure>`;
    case "table":
      return tableBlock(content.table, content.caption);
    case "code":
      return codeBlock(content.code);
  }
}

function tableBlock(table: Table, caption: string): string {
  const { titles, rows, numeric } = writeTable(table);
  const kind = (i: number): string => (numeric[i] ? ' class="number"' : "");
  const head = titles.map((title, i) => `<th scope="col"${kind(i)}>${escapeMarkup(title)}</th>`).join("");
  const body = rows.map((row, r) => {
    const cells = row.map((cell, i) => `<td${kind(i)}>${escapeMarkup(cell)}</td>`).join("");
    return `<tr${table.strong?.includes(r) ? ' class="strong"' : ""}>${cells}</tr>`;
  });
  return (
    `<figure><div class="wide"><table><thead><tr>${head}</tr></thead>\n<tbody>${body.join("\n")}</tbody></table></div>` +
    `<figcaption>${escapeMarkup(caption)}</figcaption></figure>`
  );
}

function measured({ facts, commands = [] }: NonNullable<Page["measured"]>): string {
  const items = facts.map(
    ({ name, value }) => `<div><dt>${escapeMarkup(name)}</dt><dd>${escapeMarkup(value)}</dd></div>`,
  );
  const again = commands.length === 0 ? "" : `<p>To do it again:</p>${codeBlock(commands.join("\n"))}`;
  return `<section>\n<h2>How it was measured</h2>\n<dl class="facts">${items.join("")}</dl>${again}\n</section>`;
}

function codeBlock(code: string): string {
  return `<pre class="wide"><code>${escapeMarkup(code)}</code></pre>`;
}
