/**
 * Random teams, served in every mode with a second adapter an agent, and random requests to them. Not what is asserted
 * of the answers.
 */
import assert from "node:assert/strict";
import { rmSync } from "node:fs";
import { mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { exportTeam } from "../../exporters/export-team.ts";
import { agentAdapter, type Team } from "../../models/team.ts";
import { LocalPolicyService } from "../../server/engine/policy-service.ts";
import type { TensorMetadata } from "../../server/protocol/request.ts";
import { Random } from "../../src/base/random.ts";
import type { Runtime } from "../../src/runtime/session.ts";
import { assertClose, type Tolerance } from "./close.ts";
import {
  type Answer,
  adapterFiles,
  ask,
  floats,
  type Inputs,
  indices,
  names,
  type Parameters,
} from "./engine-service.ts";
import { type RandomTeamOptions, randomTeam } from "./team.ts";

/** A model of its own name each. */
export const SERVED_MODES = ["merged", "stacked", "factored"] as const;
type ServedMode = (typeof SERVED_MODES)[number];

const VARIANT = "blue";
/** Products of other shapes: kernels add in another order. */
const TOLERANCE = { atol: 1e-6, rtol: 1e-5 };

const agent = fc.record({
  observationSize: fc.integer({ min: 1, max: 6 }),
  actionSize: fc.integer({ min: 1, max: 3 }),
});

const teams = fc
  .record({
    seed: fc.integer({ min: 0, max: 2 ** 31 }),
    agents: fc.array(agent, { minLength: 1, maxLength: 4 }),
    head: fc.constantFrom("gaussian" as const, "categorical" as const),
    rank: fc.integer({ min: 1, max: 3 }),
    recurrent: fc.boolean(),
    standardise: fc.boolean(),
  })
  .map(({ agents, ...options }) => ({
    ...options,
    observationSizes: agents.map(({ observationSize }) => observationSize),
    actionSizes: agents.map(({ actionSize }) => actionSize),
  }));

export interface DrawnRequest {
  readonly kind: "team" | "tagged" | "agent";
  readonly size: number;
  /** Asks for other adapters than the agents' own; only a factored model has them. */
  readonly variant: boolean;
  readonly seed: number;
}

const request: fc.Arbitrary<DrawnRequest> = fc.record({
  kind: fc.constantFrom("team" as const, "tagged" as const, "agent" as const),
  size: fc.integer({ min: 1, max: 5 }),
  variant: fc.boolean(),
  seed: fc.integer({ min: 0, max: 2 ** 31 }),
});

/** A team, and requests to one that is made of it. */
export const drawnCases = fc.record({
  options: teams,
  requests: fc.array(request, { minLength: 2, maxLength: 7 }),
});

export interface AskedRequest {
  readonly name: string;
  readonly inputs: Inputs;
  readonly parameters: Parameters;
}

/** Serves a team in all modes on each runtime, each agent of the factored one with a second adapter of other numbers. */
export async function serveModes(
  options: RandomTeamOptions,
  runtimes: readonly Runtime[],
  use: (...services: LocalPolicyService[]) => Promise<void>,
): Promise<void> {
  const repository = await mkdtemp(join(tmpdir(), "lorasa-"));
  const services: LocalPolicyService[] = [];
  try {
    for (const mode of SERVED_MODES) exportTeam(randomTeam(options), { repository, mode, name: mode });
    for (const runtime of runtimes) {
      const service = await LocalPolicyService.open(repository, { runtime, threads: 1 });
      services.push(service);
      await pushVariants(service, randomTeam({ ...options, seed: (options.seed ?? 0) + 1 }));
    }
    await use(...services);
  } finally {
    for (const service of services) await service.close();
    rmSync(repository, { recursive: true });
  }
}

async function pushVariants(service: LocalPolicyService, other: Team): Promise<void> {
  const { backboneSha256 } = service.endpoint("factored").model.manifest;
  for (const [agent, { name }] of other.agents.entries()) {
    const files = adapterFiles({ backboneSha256, layers: agentAdapter(other, agent) });
    await service.adapters("factored").load(`${name}.${VARIANT}`, { files, replace: false });
  }
}

/** The request that was drawn, to a mode's model. */
export function drawnRequest(
  service: LocalPolicyService,
  mode: ServedMode,
  { kind, size, variant, seed }: DrawnRequest,
): AskedRequest {
  const random = new Random(seed);
  const { agents } = service.endpoint(mode).model.manifest;
  const draw = (): number => Math.floor(random.uniform() * agents.length);
  const suffix = variant ? `.${VARIANT}` : "";
  const own = `${agents[draw()]!.name}${suffix}`;
  const name = kind === "agent" ? `${mode}.${own}` : mode;
  const leading = kind === "team" ? [size, agents.length] : [size];
  const inputs = Object.fromEntries(
    service.endpoint(name).inputs.map((input) => [input.name, randomRows(input, leading, random)]),
  );
  if (kind !== "tagged")
    return { name, inputs, parameters: kind === "team" && variant ? { adapter_id: own } : {} };
  const tags = Array.from({ length: size }, draw);
  const adapter = names(...tags.map((tag, row) => `${agents[tag]!.name}${row % 2 === 0 ? suffix : ""}`));
  return {
    name,
    inputs: { ...inputs, agent: indices(...tags), ...(variant && { adapter }) },
    parameters: {},
  };
}

function randomRows({ name, shape }: TensorMetadata, leading: readonly number[], random: Random) {
  const width = shape.at(-1)!;
  const count = leading.reduce((product, length) => product * length, width);
  // An agent has at least one action, so the first may always be chosen.
  const mask = (k: number): number => (k === 0 || random.uniform() < 0.6 ? 1 : 0);
  const value = (at: number): number => (name === "action_mask" ? mask(at % width) : random.normal());
  return floats(
    [...leading, width],
    Array.from({ length: count }, (_, at) => value(at)),
  );
}

/** Asks each alone, then all in one turn, and compares. */
export async function batchAnswers(
  service: LocalPolicyService,
  all: readonly AskedRequest[],
): Promise<readonly Answer[]> {
  const run = ({ name, inputs, parameters }: AskedRequest) => ask({ service }, name, inputs, parameters);
  const alone: Answer[] = [];
  for (const each of all) alone.push(await run(each));
  const together = await Promise.all(all.map(run));
  for (const [at, answer] of together.entries()) {
    assert.deepEqual(answer.versions, alone[at]!.versions);
    assertSameAnswer(answer, alone[at]!, TOLERANCE, `${all[at]!.name}, request ${at}`);
  }
  return together;
}

/** The same outputs, each within the tolerance. */
export function assertSameAnswer(actual: Answer, expected: Answer, tolerance: Tolerance, what: string): void {
  assert.deepEqual(Object.keys(actual.outputs).sort(), Object.keys(expected.outputs).sort(), what);
  for (const [name, values] of Object.entries(expected.outputs)) {
    assertClose(actual.outputs[name]!, values, tolerance, `${what}, ${name}`);
  }
}
