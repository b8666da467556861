/** What tests of the engine's adapters share: requests of one observation, and what was told of adapters. Not tests. */
import assert from "node:assert/strict";
import type { TestContext } from "node:test";
import type { ServiceOptions } from "../../server/engine/policy-service.ts";
import type { AdapterLoad, AdapterStatus } from "../../server/engine/service.ts";
import { assertClose } from "./close.ts";
import {
  type Answer,
  adapterFiles,
  expectedAction,
  floats,
  openTiny,
  push,
  type TinyEngine,
} from "./engine-service.ts";

export const OBSERVATION = [0.5, -1, 2];
/** Of one agent. */
export const OBS = { obs: floats([1, 3], OBSERVATION) };
/** The same for both agents of a team. */
export const TEAM = { obs: floats([1, 2, 3], [...OBSERVATION, ...OBSERVATION]) };
export const FACTORED = { mode: "factored" } as const;
/** Longer than any test: a batch begins when its rows are full. */
export const UNTIL_FULL_US = 600e6;

/** The calls of a model's adapters, with adapters of seeded numbers. */
export function bound(engine: TinyEngine) {
  const adapters = engine.adapters();
  return {
    load: (name: string, seed: number, load: Partial<AdapterLoad> = {}): Promise<AdapterStatus> =>
      adapters.load(name, { files: adapterFiles(engine.policy.adapter(seed)), replace: true, ...load }),
    pin: (name: string, pinned: boolean) => adapters.pin(name, pinned),
    unload: (name: string, drain: boolean) => adapters.unload(name, drain),
    rollback: (name: string) => adapters.rollback(name),
  };
}

/** `agent_0.blue` of seed 40, version 1, is loaded and not in memory. */
export async function evicted(
  context: TestContext,
  options: Partial<ServiceOptions> = {},
): Promise<TinyEngine> {
  const engine = await openTiny(context, FACTORED, { residentAdapters: 3, ...options });
  await push(engine, "agent_0.blue", 40);
  await push(engine, "agent_0.red", 41);
  await push(engine, "agent_0.green", 42);
  await push(engine, "agent_0.grey", 43);
  assert.equal(engine.adapters().status("agent_0.blue").resident, false);
  return engine;
}

/** Names of the adapters of which that was told, in its order. */
export function told({ events }: TinyEngine, kind: string): readonly string[] {
  return events.adapters.filter((event) => event.kind === kind).map(({ adapter }) => adapter);
}

/** Names of the adapters in memory. */
export function residents(engine: TinyEngine): readonly string[] {
  return engine
    .adapters()
    .list()
    .filter(({ resident }) => resident)
    .map(({ name }) => name);
}

/** The answer is one adapter's, of that version and of the numbers of that seed. */
export function check(
  { policy }: TinyEngine,
  { outputs, versions }: Answer,
  adapter: string,
  version: number,
  agent: number,
  seed: number,
): void {
  assert.deepEqual(versions, { [adapter]: version });
  assertClose(outputs["action"]!, expectedAction(policy, OBSERVATION, agent, seed), {}, adapter);
}
