import assert from "node:assert/strict";
import { test } from "node:test";
import { formatMicroseconds } from "../../src/base/format.ts";
import { barChart } from "../../src/report/bars.ts";
import { htmlPage, type Page } from "../../src/report/page.ts";
import { type Table, terminalTable } from "../../src/report/table.ts";

const table: Table = {
  columns: [{ title: "mode" }, { title: "agents" }, { title: "p50", format: formatMicroseconds }],
  rows: [
    ["merged", 128, 1656],
    ["factored µ", 8, null],
  ],
  strong: [1],
};

test("a terminal table aligns text left and numbers right, and marks the strong row", () => {
  assert.equal(
    terminalTable(table),
    [
      "  mode        agents      p50",
      "  ──────────  ──────  ───────",
      "  merged         128  1.66 ms",
      "› factored µ       8        –",
      "",
    ].join("\n"),
  );
});

test("a terminal table without strong rows has no margin, without rows only its titles", () => {
  const plain = { columns: table.columns, rows: [["a", 1, 2]] };
  assert.equal(terminalTable(plain), "mode  agents   p50\n────  ──────  ────\na          1  2 µs\n");
  assert.equal(terminalTable({ ...plain, rows: [] }), "mode  agents  p50\n────  ──────  ───\n");
});

const nasty = `<img src=x onerror="alert('1')">&`;

function page(text: string, svg: string): Page {
  return {
    title: text,
    summary: text,
    advice: { headline: text, reasons: [text] },
    highlights: [{ value: text, label: text }],
    sections: [
      {
        heading: text,
        blocks: [
          { kind: "text", text },
          { kind: "figure", svg, caption: text },
          { kind: "table", table: { columns: [{ title: text }], rows: [[text]] }, caption: text },
          { kind: "code", code: text },
        ],
      },
    ],
    measured: { facts: [{ name: text, value: text }], commands: [text] },
  };
}

test("every text of a page is escaped", async () => {
  const svg = await barChart({ title: nasty, bars: [{ label: nasty, series: nasty, value: 1 }] });
  const html = htmlPage(page(nasty, svg));
  assert.ok(!html.includes("<img"));
  // Title, heading 1, summary, advice ×2, highlight ×2, heading 2, text, caption ×2, table ×2, code, fact ×2, command.
  const escaped = "&lt;img src=x onerror=&quot;alert(&#39;1&#39;)&quot;&gt;&amp;";
  assert.equal(htmlPage(page(nasty, "<svg></svg>")).split(escaped).length - 1, 17);
});

test("a page needs nothing but itself", async () => {
  const svg = await barChart({ title: "Memory", bars: [{ label: "merged", value: 1 }] });
  const html = htmlPage(page("text", svg));
  assert.match(html, /^<!doctype html>\n<html lang="en">/);
  assert.match(html, /Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'"/);
  assert.match(html, /prefers-color-scheme: dark/);
  assert.doesNotMatch(html, /<script|<link|<img|@import|url\(| src=| href=| on[a-z]+=/);
  assert.equal(html.replaceAll("http://www.w3.org/2000/svg", "").includes("http://"), false);
});

test("every element that a page opens it closes, in order", async () => {
  const svg = await barChart({ title: "Memory", bars: [{ label: "merged", value: 1 }] });
  const open: string[] = [];
  for (const [, slash, name, rest] of htmlPage(page("text", svg)).matchAll(/<(\/?)([a-z][\w]*)([^>]*)>/gi)) {
    if (slash === "/") assert.equal(open.pop(), name);
    else if (name !== "meta" && !rest!.endsWith("/")) open.push(name!);
  }
  assert.deepEqual(open, []);
});

test("numbers stand to the right and strong rows are marked; parts not given are not there", () => {
  const blocks = [{ kind: "table" as const, table, caption: "All" }];
  const html = htmlPage({ title: "T", summary: "S", sections: [{ heading: "H", blocks }] });
  assert.match(html, /<th scope="col">mode<\/th><th scope="col" class="number">agents<\/th>/);
  assert.match(
    html,
    /<tr class="strong"><td>factored µ<\/td><td class="number">8<\/td><td class="number">–<\/td>/,
  );
  assert.doesNotMatch(html, /<aside|<dl|How it was measured/);
});
