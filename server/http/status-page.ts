/** The page at `/`: what the server is doing, as HTML without scripts or requests to anywhere. Not the metrics. */

import { escapeMarkup } from "../../src/base/markup.ts";
import { VERSION } from "../../src/base/version.ts";
import { totalBytes } from "../engine/model-memory.ts";
import type { AdapterStatus } from "../engine/service.ts";
import { readEventLoop } from "../operations/event-loop.ts";
import type { HistogramState } from "../operations/histogram.ts";
import { SERVER_NAME } from "../protocol/metadata.ts";
import type { ServerContext } from "./handler.ts";
import { byteText, durationText, factText, numberText, plural, renderDocument } from "./status-layout.ts";

type LoadedModel = ServerContext["service"]["repository"]["models"][number];

/** Most agents or adapters of a model that are listed; the rest are counted. */
const ROW_LIMIT = 100;

export function renderStatusPage(context: ServerContext): string {
  const { models } = context.service.repository;
  const ready = context.isReady();
  const title = ready ? SERVER_NAME : `${SERVER_NAME}: not ready`;
  return renderDocument(
    title,
    `<header><h1>${SERVER_NAME} <small>${VERSION}</small></h1>${badge(ready ? "ready" : "not ready", ready)}
<nav><a href="metrics">metrics</a> <a href="openapi.json">API</a> <a href="v2">v2</a></nav></header>
${renderFacts(context)}
${models.map((loaded) => renderModel(loaded, context)).join("\n")}
<p>${models.length === 0 ? "No model is loaded. " : ""}Rates are averages over ten seconds; times are since the start.</p>`,
  );
}

function renderFacts({ service, metrics }: ServerContext): string {
  const { models } = service.repository;
  const rates = models.map(({ model }) => metrics.model(model.manifest.name).perSecond());
  const total = (of: "requests" | "rows"): number => rates.reduce((sum, rate) => sum + rate[of], 0);
  const worst = readEventLoop().lag.find(({ quantile }) => quantile === 0.99)?.seconds ?? 0;
  const waiting = models.reduce((sum, { scheduler }) => sum + scheduler.pending, 0);
  return facts([
    ["requests/s", numberText(total("requests"))],
    ["rows/s", numberText(total("rows"))],
    ["waiting", numberText(waiting)],
    ["in flight", numberText(metrics.inflight)],
    ["sequences", numberText(service.sequences.size)],
    ["memory", byteText(process.memoryUsage.rss())],
    ["loop lag, p99", durationText(worst)],
    ["running for", durationText(process.uptime())],
  ]);
}

function renderModel({ model, scheduler }: LoadedModel, { metrics }: ServerContext): string {
  const { manifest, registry } = model;
  const meters = metrics.model(manifest.name);
  const { requests, rows } = meters.perSecond();
  const answered = meters.request.state();
  return `<section><h2>${escapeMarkup(manifest.name)} <small>version ${escapeMarkup(manifest.version)}, ${manifest.mode}, ${escapeMarkup(manifest.environment.name)}</small></h2>
${facts([
  ["requests/s", numberText(requests)],
  ["rows/s", numberText(rows)],
  ["waiting", numberText(scheduler.pending)],
  ["answered", numberText(answered.count)],
  ["half within", within(answered, 0.5)],
  ["99 % within", within(answered, 0.99)],
  ["agents", numberText(manifest.agents.length)],
  ["memory", byteText(totalBytes(model.memory))],
])}
${registry ? renderAdapters(model, registry.list()) : renderAgents(model)}</section>`;
}

type Model = LoadedModel["model"];

function renderAgents({ manifest }: Model): string {
  const rows = manifest.agents.slice(0, ROW_LIMIT).map(({ name, observationSize, actionSize }) => {
    return [served(manifest.name, name), `${observationSize}`, `${actionSize}`, "in the graph"];
  });
  const head = ["agent", "observation", "action", "adapter"];
  return table(head, rows, manifest.agents.length, "agent");
}

function renderAdapters({ manifest }: Model, adapters: readonly AdapterStatus[]): string {
  const agents = new Map(manifest.agents.map((agent) => [agent.name, agent]));
  const rows = adapters.slice(0, ROW_LIMIT).map((adapter) => {
    const agent = agents.get(adapter.agent);
    return [
      served(manifest.name, adapter.name),
      `${agent?.observationSize ?? ""}`,
      `${agent?.actionSize ?? ""}`,
      adapterVersion(adapter),
      place(adapter),
      adapter.sha256 === "" ? "" : `<code>${escapeMarkup(adapter.sha256.slice(0, 12))}</code>`,
      lastUsed(adapter),
    ];
  });
  const head = ["adapter", "observation", "action", "version", "held", "SHA-256", "used"];
  return table(head, rows, adapters.length, "adapter");
}

function served(model: string, name: string): string {
  return `<code>${escapeMarkup(`${model}.${name}`)}</code>`;
}

function adapterVersion({ state, version, reason }: AdapterStatus): string {
  if (state === "READY") return badge(`version ${version}`, true);
  return `${badge("none loaded", false)} ${escapeMarkup(reason === "unloaded" ? "" : reason)}`;
}

function place({ state, resident, pinned }: AdapterStatus): string {
  if (state !== "READY") return "";
  if (pinned) return "in memory, pinned";
  return resident ? "in memory" : "in its files";
}

function lastUsed({ lastUsedMs }: AdapterStatus): string {
  if (lastUsedMs === 0) return "";
  const seconds = (Date.now() - lastUsedMs) / 1000;
  return seconds < 1 ? "now" : `${durationText(seconds)} ago`;
}

/** Upper bound of the bucket in which a quantile of the observations lies. */
function within({ buckets, count }: HistogramState, quantile: number): string {
  if (count === 0) return "–";
  const found = buckets.find((bucket) => bucket.count >= quantile * count);
  const last = buckets.at(-2)?.bound ?? 0;
  return found && found.bound < Infinity ? durationText(found.bound) : `over ${durationText(last)}`;
}

function badge(text: string, good: boolean): string {
  return `<span class="${good ? "ready" : "unavailable"}">${escapeMarkup(text)}</span>`;
}

function facts(pairs: readonly (readonly [name: string, value: string])[]): string {
  return `<dl>${pairs.map(([name, value]) => factText(name, value)).join("")}</dl>`;
}

/** @param rows cells as markup; @param total rows that there are, listed or not. */
function table(
  head: readonly string[],
  rows: readonly (readonly string[])[],
  total: number,
  kind: string,
): string {
  const cells = (row: readonly string[], tag: "th" | "td"): string =>
    `<tr>${row.map((cell) => `<${tag}>${cell}</${tag}>`).join("")}</tr>`;
  const left = total - rows.length;
  return `<div class="table"><table><thead>${cells(head, "th")}</thead><tbody>
${rows.map((row) => cells(row, "td")).join("\n")}</tbody></table></div>
${left > 0 ? `<p>and ${plural(left, `${kind}`)} more</p>` : ""}`;
}
