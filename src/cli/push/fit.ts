/** Whether adapters fit a served model, by what the server says of it: asked before any of them is sent. */
import type { ServerClient } from "../../../server/client.ts";
import { LorasaError, suggestion } from "../../base/errors.ts";
import { type Adapter, checkAdapter } from "../../checkpoint/adapter.ts";

/** Adapters by name: an agent's, or `<agent>.<variant>`. */
export type NamedAdapters = Readonly<Record<string, Adapter>>;

const SHORT_SHA256 = 12;

/**
 * Two small requests. What a server does not say of its model is left to it.
 * @throws LORASA_UNKNOWN_AGENT, LORASA_ADAPTER; LORASA_SERVER when the model is unknown or the server away.
 */
export async function requireFit(
  client: ServerClient,
  model: string,
  adapters: NamedAdapters,
): Promise<void> {
  const { mode, agents, backboneSha256 } = await client.modelFacts(model);
  if (mode !== "" && mode !== "factored") throw notFactored(model, mode);
  if (agents.length === 0 || backboneSha256 === "") return;
  for (const [name, adapter] of Object.entries(adapters)) {
    requireAgent(model, name, agents);
    requireBackbone(model, name, adapter, backboneSha256);
  }
  const { layers } = await client.describeAdapter(model, agents[0]!);
  if (layers.length === 0) return;
  for (const adapter of Object.values(adapters)) checkAdapter(adapter, layers, backboneSha256);
}

function notFactored(model: string, mode: string): LorasaError {
  return new LorasaError("LORASA_ADAPTER", {
    asked: `adapters of ${model}`,
    expected: "a factored model",
    received: `a ${mode} one`,
    mend: "export it with --mode factored",
  });
}

function requireAgent(model: string, name: string, agents: readonly string[]): void {
  if (agents.some((agent) => name === agent || name.startsWith(`${agent}.`))) return;
  throw new LorasaError("LORASA_UNKNOWN_AGENT", {
    asked: `adapter ${name} of ${model}`,
    expected: "an agent's name, or <agent>.<variant>",
    received: "another",
    mend: suggestion(name, agents),
  });
}

function requireBackbone(model: string, name: string, adapter: Adapter, served: string): void {
  const own = adapter.backboneSha256;
  if (own === served) return;
  throw new LorasaError("LORASA_ADAPTER", {
    asked: `adapter ${name}`,
    expected: `the backbone that ${model} is served with, ${served.slice(0, SHORT_SHA256)}…`,
    received: own === "" ? "none named" : `${own.slice(0, SHORT_SHA256)}…`,
    mend: "an adapter works only on the backbone that it was trained on",
  });
}
