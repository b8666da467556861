/** Adapters of a server as a person reads them: a table, one in full, one line. */

import type { AdapterDescription } from "../../../server/client/descriptions.ts";
import type { AdapterStatus } from "../../../server/client.ts";
import { formatBytes } from "../../base/format.ts";
import { terminalTable } from "../../report/table.ts";

const SHORT_SHA256 = 12;
const NONE = "–";

const UNITS = [
  [86_400, "d"],
  [3600, "h"],
  [60, "min"],
  [1, "s"],
] as const;

/** @param nowMs milliseconds since the epoch. */
export function listingText(adapters: readonly AdapterStatus[], nowMs: number): string {
  if (adapters.length === 0) return "no adapters";
  const titles = ["adapter", "version", "state", "memory", "size", "loaded", "used", "sha256"];
  const table = terminalTable({
    columns: titles.map((title) => ({ title })),
    rows: adapters.map((adapter) => [
      adapter.name,
      adapter.version || NONE,
      state(adapter),
      memory(adapter),
      size(adapter),
      age(adapter.loadedAtMs, nowMs),
      age(adapter.lastUsedMs, nowMs),
      adapter.sha256.slice(0, SHORT_SHA256) || NONE,
    ]),
  });
  return table.trimEnd();
}

/** @param nowMs milliseconds since the epoch. */
export function describedText(adapter: AdapterDescription, nowMs: number): string {
  const facts: readonly (readonly [string, string])[] = [
    ["agent", adapter.agent || NONE],
    ["version", adapter.version || NONE],
    ["rolls back to", Number(adapter.previousVersion) > 0 ? `version ${adapter.previousVersion}` : "nothing"],
    ["state", state(adapter)],
    ["memory", memory(adapter)],
    ["size", size(adapter)],
    ["loaded", age(adapter.loadedAtMs, nowMs)],
    ["used", age(adapter.lastUsedMs, nowMs)],
    ["sha256", adapter.sha256 || NONE],
  ];
  const width = Math.max(...facts.map(([name]) => name.length));
  const layers = terminalTable({
    columns: ["layer", "in", "out", "rank", "scale"].map((title) => ({ title })),
    rows: adapter.layers.map((layer) => [layer.name, layer.in, layer.out, layer.rank, layer.scale]),
  });
  const lines = facts.map(([name, value]) => `  ${name.padEnd(width)}  ${value}`);
  return [adapter.name, ...lines, ...(adapter.layers.length === 0 ? [] : ["", layers.trimEnd()])].join("\n");
}

export function statusText(adapter: AdapterStatus): string {
  const pinned = adapter.pinned ? ", pinned" : "";
  return `${adapter.name}: version ${adapter.version || NONE}, ${state(adapter)}${pinned}`;
}

function state({ state: word, reason }: AdapterStatus): string {
  return reason === "" ? word.toLowerCase() : `${word.toLowerCase()}: ${reason}`;
}

function memory({ pinned, resident }: AdapterStatus): string {
  return pinned ? "pinned" : resident ? "yes" : "no";
}

function size({ bytes }: AdapterStatus): string {
  return bytes > 0 ? formatBytes(bytes) : NONE;
}

/** `4 min ago`: the largest unit that fits; a clock that is ahead is not told. */
function age(atMs: number, nowMs: number): string {
  if (atMs === 0) return "never";
  const seconds = Math.max(0, Math.floor((nowMs - atMs) / 1000));
  const [length, unit] = UNITS.find(([least]) => seconds >= least) ?? [1, "s"];
  return `${Math.floor(seconds / length)} ${unit} ago`;
}
