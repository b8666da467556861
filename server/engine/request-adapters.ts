/** Which adapter each row of a request uses: its agent's own, one for all rows, or one a row. */
import { LorasaError } from "../../src/base/errors.ts";
import type { ModelManifest } from "../../src/checkpoint/repository.ts";
import type { ParameterValue } from "../protocol/request.ts";
import type { AdapterRegistry } from "./adapter-registry.ts";
import type { RowAgents } from "./placement.ts";
import type { CheckedRequest } from "./policy-request.ts";
import type { ResidentAdapter } from "./resident-adapter.ts";

/** The adapter of each row of a request to a factored model. */
export type RowAdapters =
  /** By agent; undefined for agents that have no rows. */
  | { readonly kind: "own"; readonly byAgent: readonly (ResidentAdapter | undefined)[] }
  | { readonly kind: "one"; readonly adapter: ResidentAdapter }
  /** Row i has `distinct[index[i]]`. */
  | { readonly kind: "rows"; readonly distinct: readonly ResidentAdapter[]; readonly index: Int32Array };

/**
 * The adapter that `parameters.adapter_id` names, if any.
 * @throws LORASA_REQUEST for what is not a name.
 */
export function adapterIdOf(parameters: Readonly<Record<string, ParameterValue>>): string | undefined {
  const id = parameters["adapter_id"];
  if (id === undefined || (typeof id === "string" && id !== "")) return id;
  throw new LorasaError("LORASA_REQUEST", {
    asked: "parameters.adapter_id",
    expected: "the name of an adapter",
    received: typeof id === "string" ? "an empty string" : typeof id,
  });
}

/**
 * Finds a request's adapters; a promise when one of them must be read from its files first.
 * @param name adapter for all rows, from the request's parameters or the name that was asked.
 * @throws LORASA_UNKNOWN_ADAPTER, LORASA_UNAVAILABLE.
 */
export function findAdapters(
  registry: AdapterRegistry,
  manifest: ModelManifest,
  { agents, named }: CheckedRequest,
  name: string | undefined,
): RowAdapters | Promise<RowAdapters> {
  if (named) {
    return gathered(
      named.distinct.map((each) => registry.get(each)),
      (distinct) => ({ kind: "rows", distinct, index: named.index }),
    );
  }
  const own = name ?? (agents.kind === "agent" ? manifest.agents[agents.agent]!.name : undefined);
  if (own !== undefined)
    return gathered([registry.get(own)], ([adapter]) => ({ kind: "one", adapter: adapter! }));
  const team = agents.kind === "team" ? registry.team() : undefined;
  if (team) return { kind: "own", byAgent: team };
  return findOwn(registry, manifest, agents);
}

function findOwn(
  registry: AdapterRegistry,
  { agents: all }: ModelManifest,
  agents: RowAgents,
): RowAdapters | Promise<RowAdapters> {
  const concerned = agents.kind === "tagged" ? [...new Set(agents.index)] : [...all.keys()];
  return gathered(
    concerned.map((agent) => registry.get(all[agent]!.name)),
    (found) => {
      const byAgent = new Array<ResidentAdapter | undefined>(all.length).fill(undefined);
      for (const [at, agent] of concerned.entries()) byAgent[agent] = found[at];
      return { kind: "own", byAgent };
    },
  );
}

/** Without a promise where all are there, which is nearly always. */
function gathered(
  found: readonly (ResidentAdapter | Promise<ResidentAdapter>)[],
  make: (adapters: readonly ResidentAdapter[]) => RowAdapters,
): RowAdapters | Promise<RowAdapters> {
  if (found.some((adapter) => adapter instanceof Promise)) {
    return Promise.all(found).then(make);
  }
  // None is a promise.
  return make(found as readonly ResidentAdapter[]);
}

/** The distinct adapters, by agent where they are the agents' own. */
export function distinctAdapters(adapters: RowAdapters): readonly ResidentAdapter[] {
  if (adapters.kind === "one") return [adapters.adapter];
  if (adapters.kind === "rows") return adapters.distinct;
  return adapters.byAgent.filter((adapter) => adapter !== undefined);
}

/** `agent_0=3,agent_1=1`. */
export function versionsText(adapters: readonly ResidentAdapter[]): string {
  return adapters.map(({ name, version }) => `${name}=${version}`).join(",");
}
