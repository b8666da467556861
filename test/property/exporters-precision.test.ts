/** Half-precision graphs beside the float32 ones of the same random teams, every layout, over sequences. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { hiddenSize } from "../../models/networks.ts";
import type { Team } from "../../models/team.ts";
import { Random } from "../../src/base/random.ts";
import { floatTensor } from "../../src/base/tensor.ts";
import {
  exportedLayouts,
  type PolicyLayout,
  randomTeamStep,
  type TeamStep,
} from "../helpers/policy-layouts.ts";
import { randomTeam } from "../helpers/team.ts";

/** Fixed: a layer of few units whose activations all but agree has its differences blown up by its norm. */
const SEED = 1611;
const ENVS = 2;
const STEPS = 5;
/** A hundredth of the width of actions, and of logits as large as 1. */
const TOLERANCE = 0.02;
/** Float16 keeps 11 bits: graphs that agree closer than this were not rounded. */
const ROUNDED = 1e-6;

type Outputs = Readonly<Record<string, Float32Array>>;

const agent = fc.record({
  observationSize: fc.integer({ min: 3, max: 8 }),
  actionSize: fc.integer({ min: 1, max: 3 }),
});

const teams = fc
  .record({
    seed: fc.integer({ min: 0, max: 2 ** 31 }),
    agents: fc.array(agent, { minLength: 1, maxLength: 4 }),
    head: fc.constantFrom("gaussian" as const, "squashed-gaussian" as const, "categorical" as const),
    low: fc.constantFrom(-1, -3),
    sharing: fc.constantFrom("low-rank" as const, "individual" as const, "shared" as const),
    rank: fc.integer({ min: 1, max: 5 }),
    activation: fc.constantFrom("tanh" as const, "relu" as const),
    recurrent: fc.boolean(),
    agentId: fc.boolean(),
    standardise: fc.boolean(),
    featureNorm: fc.boolean(),
  })
  .map(({ agents, ...options }) => ({
    ...options,
    observationSizes: agents.map(({ observationSize }) => observationSize),
    actionSizes: agents.map(({ actionSize }) => actionSize),
  }));

test("float16 graphs answer as float32 ones do to a hundredth of the actions' width", () => {
  const drawn = fc.record({ options: teams, sampled: fc.boolean(), opset: fc.constantFrom(15, 16, 17) });
  fc.assert(
    fc.property(drawn, ({ options, sampled, opset }) => {
      const team = randomTeam(options);
      const full = exportedLayouts(team, { sampled, opset });
      const halves = exportedLayouts(team, { sampled, opset, precision: "fp16" });
      let largest = 0;
      for (const [name, half] of Object.entries(halves)) {
        const expected = runSequence(team, full[name]!, sampled, options.seed);
        for (const [t, { inputs, outputs }] of runSequence(team, half, sampled, options.seed).entries()) {
          const difference = compare(team, inputs, outputs, expected[t]!.outputs);
          assert.ok(difference <= TOLERANCE, `${name}, step ${t}: ${difference}`);
          largest = Math.max(largest, difference);
        }
      }
      assert.ok(largest > ROUNDED, `the graphs agree to ${largest}`);
    }),
    { numRuns: 25, seed: SEED },
  );
});

/** Every step's rows and outputs; each layout carries its own states. */
function runSequence(
  team: Team,
  layout: PolicyLayout,
  sampled: boolean,
  seed: number,
): { inputs: TeamStep; outputs: Outputs }[] {
  const random = new Random(seed);
  const width = hiddenSize(team.actor.body);
  const dims = [team.agents.length, ENVS, width];
  let state = new Float32Array(team.agents.length * ENVS * width);
  const steps = Array.from({ length: STEPS }, () => {
    const step = randomTeamStep(team, ENVS, sampled, random);
    const inputs = { ...step, ...(width > 0 && { hidden_in: floatTensor(dims, state) }) };
    const outputs = layout.run(inputs);
    state = Float32Array.from(outputs["hidden_out"] ?? []);
    return { inputs, outputs };
  });
  layout.dispose();
  return steps;
}

/** The largest difference in units of the largest mean or logit, and of half the width of actions. */
function compare(team: Team, inputs: TeamStep, half: Outputs, full: Outputs): number {
  assert.deepEqual(Object.keys(half), Object.keys(full));
  const { head } = team.actor;
  const scores = full["logits"] ?? full["mean"]!;
  const largest = scores.reduce((most, value) => (value > -1e9 ? Math.max(most, Math.abs(value)) : most), 1);
  if (head.kind === "categorical") {
    const logits = furthest(half["logits"]!, scores) / largest;
    return Math.max(logits, choiceGap(team, inputs, half["action"]!, scores) / largest / 2);
  }
  const width = Math.max(1, (head.high - head.low) / 2);
  return Math.max(
    furthest(half["mean"]!, scores) / largest,
    furthest(half["action"]!, full["action"]!) / largest / width,
    furthest(half["hidden_out"] ?? [], full["hidden_out"] ?? []),
  );
}

function furthest(a: ArrayLike<number>, b: ArrayLike<number>): number {
  return Array.from(a).reduce((most, value, k) => Math.max(most, Math.abs(value - b[k]!)), 0);
}

/** How much less than the best a choice scores in float32's logits: two of them may be off, in opposite ways. */
function choiceGap(
  { agents }: Team,
  { noise }: TeamStep,
  choices: Float32Array,
  logits: Float32Array,
): number {
  const width = logits.length / choices.length;
  const scores = logits.map((logit, k) => logit + (noise?.data[k] ?? 0));
  return choices.reduce((most, choice, row) => {
    const { actionSize } = agents[Math.floor(row / ENVS)]!;
    const own = scores.subarray(row * width, row * width + actionSize);
    return Math.max(most, Math.max(...own) - own[choice]!);
  }, 0);
}
