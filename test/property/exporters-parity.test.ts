import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { hiddenSize } from "../../models/networks.ts";
import type { Team } from "../../models/team.ts";
import { Random } from "../../src/base/random.ts";
import { floatTensor } from "../../src/base/tensor.ts";
import { assertClose } from "../helpers/close.ts";
import {
  actingLayout,
  exportedLayouts,
  hasFactors,
  type PolicyLayout,
  randomTeamStep,
} from "../helpers/policy-layouts.ts";
import { randomTeam, SHARINGS, withZeroFactor } from "../helpers/team.ts";

/** Fixed: two choices that score the same within rounding may be told apart either way. */
const SEED = 2502;
const ENVS = 2;
const STEPS = 6;
/** Episodes begin at these steps in the first environment. */
const RESETS = [2, 3];
/** The same products in other orders, over a recurrent sequence. */
const TOLERANCE = { atol: 1e-5, rtol: 1e-5 };
/** (u − mean)/std and 1 − tanh² u lose bits that no order of products brings back. */
const LOG_PROB_TOLERANCE = { atol: 2e-4, rtol: 1e-4 };

type Outputs = Record<string, Float32Array>;

const agent = fc.record({
  observationSize: fc.integer({ min: 1, max: 6 }),
  actionSize: fc.integer({ min: 1, max: 3 }),
});

const teams = fc
  .record({
    seed: fc.integer({ min: 0, max: 2 ** 31 }),
    agents: fc.array(agent, { minLength: 1, maxLength: 4 }),
    equal: fc.boolean(),
    head: fc.constantFrom("gaussian" as const, "squashed-gaussian" as const, "categorical" as const),
    low: fc.constantFrom(-1, -3),
    sharing: fc.constantFrom(...SHARINGS),
    rank: fc.integer({ min: 1, max: 5 }),
    alpha: fc.integer({ min: 1, max: 8 }),
    exclude: fc.constantFrom<readonly string[]>([], ["mlp.0"], ["head.log_std", "head"]),
    activation: fc.constantFrom("tanh" as const, "relu" as const),
    recurrent: fc.boolean(),
    agentId: fc.boolean(),
    standardise: fc.boolean(),
    featureNorm: fc.boolean(),
  })
  .map(({ agents, equal, ...options }) => {
    const own = equal ? agents.map(() => agents[0]!) : agents;
    return {
      ...options,
      observationSizes: own.map(({ observationSize }) => observationSize),
      actionSizes: own.map(({ actionSize }) => actionSize),
    };
  });

test("merged, stacked, team, rows and single answer as the training graphs do", () => {
  const drawn = fc.record({ options: teams, sampled: fc.boolean(), opset: fc.constantFrom(15, 16, 17) });
  fc.assert(
    fc.property(drawn, ({ options, sampled, opset }) => {
      const team = randomTeam(options);
      const reference = actingLayout(team, ENVS, sampled);
      const layouts = exportedLayouts(team, { sampled, opset });
      assert.equal(Object.keys(layouts).length, hasFactors(team) ? 5 : 2);
      const expected = runSequence(team, reference, sampled, options.seed);
      const answers = Object.entries(layouts).map(([name, layout]) => {
        return [name, runSequence(team, layout, sampled, options.seed)] as const;
      });
      for (const [name, steps] of answers) {
        for (const [step, outputs] of steps.entries()) {
          compareWithActing(team, outputs, expected[step]!, sampled, `${name}, step ${step}`);
          compareLayouts(team, outputs, answers[0]![1][step]!, `${name} and merged, step ${step}`);
        }
      }
    }),
    { numRuns: 40, seed: SEED },
  );
});

for (const factor of ["lora_A", "lora_B"] as const) {
  test(`a ${factor} of zeros changes nothing of the backbone over a sequence with resets`, () => {
    fc.assert(
      fc.property(teams, (options) => {
        const adapted = withZeroFactor(randomTeam({ ...options, sharing: "low-rank" }), factor);
        const shared = randomTeam({ ...options, sharing: "shared" });
        const plain: Team = { ...shared, backbone: adapted.backbone };
        const expected = runSequence(plain, exportedLayouts(plain, {})["stacked"]!, false, options.seed);
        for (const [name, layout] of Object.entries(exportedLayouts(adapted, {}))) {
          const steps = runSequence(adapted, layout, false, options.seed);
          for (const [step, outputs] of steps.entries()) {
            compareLayouts(adapted, outputs, expected[step]!, `${name}, step ${step}`);
          }
        }
      }),
      { numRuns: 6, seed: SEED },
    );
  });
}

test("permuting agents permutes their actions", () => {
  fc.assert(
    fc.property(teams, (options) => {
      // The id is a part of an agent's observation: without it, only weights and rows move.
      const team = randomTeam({ ...options, sharing: "low-rank", agentId: false });
      const order = [...new Random(options.seed).permutation(team.agents.length)];
      const permuted = permutedTeam(team, order);
      const step = randomTeamStep(team, ENVS, false, new Random(options.seed));
      const moved = Object.fromEntries(
        Object.entries(step).map(([name, { dims, data }]) => [
          name,
          floatTensor(dims, permutedRows(data, order)),
        ]),
      );
      const permutedLayouts = exportedLayouts(permuted, {});
      for (const [name, layout] of Object.entries(exportedLayouts(team, {}))) {
        const { action } = layout.run(step);
        const other = permutedLayouts[name]!.run(moved)["action"]!;
        assertClose(other, permutedRows(action!, order), TOLERANCE, name);
        layout.dispose();
        permutedLayouts[name]!.dispose();
      }
    }),
    { numRuns: 6, seed: SEED },
  );
});

/** Every step's outputs; states are carried, and zero where an episode begins. */
function runSequence(team: Team, layout: PolicyLayout, sampled: boolean, seed: number): Outputs[] {
  const random = new Random(seed);
  const width = hiddenSize(team.actor.body);
  let state: Float32Array = new Float32Array(team.agents.length * ENVS * width);
  const steps = Array.from({ length: STEPS }, (_, t) => {
    const step = randomTeamStep(team, ENVS, sampled, random);
    if (RESETS.includes(t)) for (let n = 0; n < team.agents.length; n++) resetRow(state, n * ENVS, width);
    const carried = width > 0 ? { hidden_in: floatTensor([team.agents.length, ENVS, width], state) } : {};
    const outputs = layout.run({ ...step, ...carried });
    state = outputs["hidden_out"] ?? state;
    return { ...outputs, ...(outputs["hidden_out"] && { hidden_out: state.slice() }) };
  });
  layout.dispose();
  return steps;
}

function resetRow(state: Float32Array, row: number, width: number): void {
  state.fill(0, row * width, (row + 1) * width);
}

/** The acting graph gives log-probabilities a dimension each, and no mean or logits. */
function compareWithActing(
  team: Team,
  outputs: Outputs,
  acting: Outputs,
  sampled: boolean,
  what: string,
): void {
  assertClose(own(team, outputs["action"]!), own(team, acting["action"]!), TOLERANCE, `${what}, action`);
  assert.equal("hidden_out" in outputs, hiddenSize(team.actor.body) > 0, what);
  if (outputs["hidden_out"])
    assertClose(outputs["hidden_out"], acting["hidden_out"]!, TOLERANCE, `${what}, hidden_out`);
  assert.equal("log_prob" in outputs, sampled, what);
  if (!sampled) return;
  const each = acting["log_prob"]!;
  const width = each.length / (team.agents.length * ENVS);
  const sums = outputs["log_prob"]!.map((_, row) => {
    const count = Math.min(width, team.agents[Math.floor(row / ENVS)]!.actionSize);
    return each.subarray(row * width, row * width + count).reduce((sum, value) => sum + value, 0);
  });
  assertClose(outputs["log_prob"]!, sums, LOG_PROB_TOLERANCE, `${what}, log_prob`);
}

function compareLayouts(team: Team, outputs: Outputs, merged: Outputs, what: string): void {
  const names = team.actor.head.kind === "categorical" ? ["logits"] : ["mean"];
  for (const name of ["action", ...names, ...Object.keys(outputs).filter((key) => key === "log_std")]) {
    assertClose(own(team, outputs[name]!), own(team, merged[name]!), TOLERANCE, `${what}, ${name}`);
  }
}

/** The numbers that agents have, without padding, of [N, E, width]. */
function own(team: Team, data: Float32Array): number[] {
  const width = data.length / (team.agents.length * ENVS);
  return [...data].filter((_, at) => {
    const { actionSize } = team.agents[Math.floor(at / (width * ENVS))]!;
    return at % width < actionSize;
  });
}

function permutedTeam(team: Team, order: readonly number[]): Team {
  return {
    ...team,
    agents: order.map((index) => team.agents[index]!),
    adapters: permutedRows(team.adapters!, order),
  };
}

/** Blocks of the leading axis in another order. */
function permutedRows(data: Float32Array, order: readonly number[]): Float32Array {
  const size = data.length / order.length;
  const moved = new Float32Array(data.length);
  for (const [at, index] of order.entries())
    moved.set(data.subarray(index * size, (index + 1) * size), at * size);
  return moved;
}
