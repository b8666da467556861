/** The page at `/`: models, adapters, versions and request rates, as HTML without scripts or outside requests. */

import { escapeMarkup } from "../../src/base/markup.ts";
import { VERSION } from "../../src/base/version.ts";
import type { PolicyModel } from "../engine/policy-model.ts";
import { SERVER_NAME } from "../protocol/metadata.ts";
import type { ServerContext } from "./handler.ts";

const STYLE = `
:root { color-scheme: light dark; font: 15px/1.5 system-ui, sans-serif; }
body { max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.4rem; } h2 { font-size: 1.1rem; margin-top: 2rem; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; padding: .3rem .8rem .3rem 0; border-bottom: 1px solid #8884; }
td.number { font-variant-numeric: tabular-nums; } code { font-size: .9em; }
.ready { color: #2a7d3f; } .unavailable { color: #b3261e; }`;

export function renderStatusPage(context: ServerContext): string {
  const models = context.service.repository.models.map(({ model }) => model);
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>${SERVER_NAME}</title>
<meta name="viewport" content="width=device-width"><meta http-equiv="refresh" content="5"><style>${STYLE}</style></head>
<body><h1>${SERVER_NAME} ${VERSION}</h1>
<p>${context.isReady() ? '<span class="ready">ready</span>' : '<span class="unavailable">not ready</span>'},
${models.length} model${models.length === 1 ? "" : "s"}. Prometheus: <a href="metrics">/metrics</a>.</p>
${models.map((model) => renderModel(model, context)).join("\n")}
</body></html>
`;
}

function renderModel(model: PolicyModel, context: ServerContext): string {
  const { manifest } = model;
  const { requests, rows } = context.metrics.model(manifest.name).rate.perSecond();
  return `<h2>${escapeMarkup(manifest.name)} <small>version ${escapeMarkup(manifest.version)}, ${manifest.mode}</small></h2>
<p>${escapeMarkup(manifest.environment.name)}; ${manifest.agents.length} agents;
${requests.toFixed(1)} requests/s, ${rows.toFixed(1)} rows/s over ten seconds.</p>
<table><tr><th>agent</th><th>model name</th><th>observation</th><th>action</th><th>adapter</th></tr>
${manifest.agents.map((_, agent) => renderAgent(model, agent)).join("\n")}</table>`;
}

function renderAgent({ manifest, registry }: PolicyModel, index: number): string {
  const agent = manifest.agents[index]!;
  const entry = registry?.status(agent.name);
  const loaded =
    entry?.state === "READY"
      ? `<span class="ready">version ${entry.version}</span> <code>${entry.sha256.slice(0, 12)}</code>`
      : '<span class="unavailable">none loaded</span>';
  const name = escapeMarkup(agent.name);
  return `<tr><td>${name}</td><td><code>${escapeMarkup(manifest.name)}.${name}</code></td>
<td class="number">${agent.observationSize}</td><td class="number">${agent.actionSize}</td>
<td>${registry ? loaded : "in the graph"}</td></tr>`;
}
