/** Random teams in every mode, random batches: each answer is the request's own, in one mode as in another. */
import assert from "node:assert/strict";
import { rmSync } from "node:fs";
import { mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import fc from "fast-check";
import { exportTeam } from "../../exporters/export-team.ts";
import { agentAdapter, type Team } from "../../models/team.ts";
import { LocalPolicyService } from "../../server/engine/policy-service.ts";
import type { TensorMetadata } from "../../server/protocol/request.ts";
import { Random } from "../../src/base/random.ts";
import { createRuntime } from "../../src/runtime/onnxruntime.ts";
import { assertClose, type Tolerance } from "../helpers/close.ts";
import {
  type Answer,
  adapterFiles,
  ask,
  floats,
  type Inputs,
  indices,
  names,
  type Parameters,
} from "../helpers/engine-service.ts";
import { type RandomTeamOptions, randomTeam } from "../helpers/team.ts";

/** Fixed: two choices that score the same within rounding may be told apart either way. */
const SEED = 2611;
const MODES = ["merged", "stacked", "factored"] as const;
const VARIANT = "blue";
/** Products of other shapes: kernels add in another order. */
const TOLERANCE = { atol: 1e-6, rtol: 1e-5 };
/** Modes multiply in another order too, over a recurrent layer. */
const BETWEEN_MODES = { atol: 1e-5, rtol: 1e-5 };

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

const request = fc.record({
  kind: fc.constantFrom("team" as const, "tagged" as const, "agent" as const),
  size: fc.integer({ min: 1, max: 5 }),
  /** Asks for other adapters than the agents' own; only a factored model has them. */
  variant: fc.boolean(),
  seed: fc.integer({ min: 0, max: 2 ** 31 }),
});

type Drawn = Readonly<{ kind: "team" | "tagged" | "agent"; size: number; variant: boolean; seed: number }>;

interface Asked {
  readonly name: string;
  readonly inputs: Inputs;
  readonly parameters: Parameters;
}

const cases = fc.record({ options: teams, requests: fc.array(request, { minLength: 2, maxLength: 7 }) });

test("batches of random requests to random teams answer as each request alone, in every mode", async () => {
  await fc.assert(
    fc.asyncProperty(cases, async ({ options, requests }) => {
      const team = randomTeam(options);
      const own = requests.filter(({ variant }) => !variant);
      const others = requests.filter(({ variant }) => variant);
      await serving(team, options, async (service) => {
        const draw = (mode: string) => (drawn: Drawn) => asked(service, team, mode, drawn);
        const merged = await batchAnswers(service, own.map(draw("merged")));
        const stacked = await batchAnswers(service, own.map(draw("stacked")));
        const factored = await batchAnswers(service, [...own, ...others].map(draw("factored")));
        for (const [at, answer] of merged.entries()) {
          assertSame(stacked[at]!, answer, BETWEEN_MODES, `stacked and merged, request ${at}`);
          assertSame(factored[at]!, answer, BETWEEN_MODES, `factored and merged, request ${at}`);
        }
      });
    }),
    // Each case is three exports: to make a failing one smaller would take minutes.
    { numRuns: 8, seed: SEED, endOnFailure: true },
  );
});

/** Asks each alone, then all in one turn, and compares. */
async function batchAnswers(service: LocalPolicyService, all: readonly Asked[]): Promise<readonly Answer[]> {
  const run = ({ name, inputs, parameters }: Asked) => ask({ service }, name, inputs, parameters);
  const alone: Answer[] = [];
  for (const each of all) alone.push(await run(each));
  const together = await Promise.all(all.map(run));
  for (const [at, answer] of together.entries()) {
    assert.deepEqual(answer.versions, alone[at]!.versions);
    assertSame(answer, alone[at]!, TOLERANCE, `${all[at]!.name}, request ${at}`);
  }
  return together;
}

/** Serves a team in all modes, each agent of the factored one with a second adapter of other numbers. */
async function serving(
  team: Team,
  options: RandomTeamOptions,
  use: (service: LocalPolicyService) => Promise<void>,
): Promise<void> {
  const repository = await mkdtemp(join(tmpdir(), "lorasa-"));
  let service: LocalPolicyService | undefined;
  try {
    for (const mode of MODES) exportTeam(team, { repository, mode, name: mode });
    service = await LocalPolicyService.open(repository, { runtime: createRuntime(), threads: 1 });
    await pushVariants(service, randomTeam({ ...options, seed: options.seed! + 1 }));
    await use(service);
  } finally {
    await service?.close();
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
function asked(
  service: LocalPolicyService,
  team: Team,
  mode: string,
  { kind, size, variant, seed }: Drawn,
): Asked {
  const random = new Random(seed);
  const draw = (most: number): number => Math.floor(random.uniform() * most);
  const agent = draw(team.agents.length);
  const suffix = variant ? `.${VARIANT}` : "";
  const own = `${team.agents[agent]!.name}${suffix}`;
  const name = kind === "agent" ? `${mode}.${own}` : mode;
  const leading = kind === "team" ? [size, team.agents.length] : [size];
  const inputs = Object.fromEntries(
    service.endpoint(name).inputs.map((input) => [input.name, randomRows(input, leading, random)]),
  );
  if (kind !== "tagged")
    return { name, inputs, parameters: kind === "team" && variant ? { adapter_id: own } : {} };
  const tags = Array.from({ length: size }, () => draw(team.agents.length));
  const adapter = names(...tags.map((tag, row) => `${team.agents[tag]!.name}${row % 2 === 0 ? suffix : ""}`));
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

function assertSame(actual: Answer, expected: Answer, tolerance: Tolerance, what: string): void {
  assert.deepEqual(Object.keys(actual.outputs).sort(), Object.keys(expected.outputs).sort(), what);
  for (const [name, values] of Object.entries(expected.outputs)) {
    assertClose(actual.outputs[name]!, values, tolerance, `${what}, ${name}`);
  }
}
