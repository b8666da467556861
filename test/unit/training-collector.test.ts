/** Rollouts: where each step lies in the buffer, and that the collector fills it as one plain loop would. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { initialise } from "../../models/initialise.ts";
import { type ActorConfig, type CriticConfig, hiddenSize } from "../../models/networks.ts";
import { actorParameters, criticParameters } from "../../models/policy.ts";
import { Random } from "../../src/base/random.ts";
import { type FloatTensor, floatTensor } from "../../src/base/tensor.ts";
import { encodeModel } from "../../src/onnx/encode.ts";
import { createRuntime } from "../../src/runtime/onnxruntime.ts";
import { type ActingConfig, actingGraph } from "../../src/training/acting-graph.ts";
import { Collector } from "../../src/training/collector.ts";
import type { Episode } from "../../src/training/episodes.ts";
import {
  chunkOffset,
  createRolloutBuffer,
  type RolloutBuffer,
  type RolloutShape,
  rowOffset,
} from "../../src/training/rollout-buffer.ts";
import { assertClose } from "../helpers/close.ts";
import { type FakeTask, fakeVectorEnv, type Moment } from "../helpers/fake-vector-env.ts";

const AGENTS = 3;
const ENVS = 4;
const GROUPS = 2;
const STEPS = 6;
const CHUNK_LENGTH = 3;
const OBSERVATION = 4;
const STATE = 5;
const CHOICES = 3;
const ACTION = 2;

test("rows of the same step of all chunks are neighbours", () => {
  const shape = { steps: 4, envs: 3, chunkLength: 2 } as RolloutShape;
  // Chunks 0, 1, 2 are steps 0 and 1 of the three environments, 3, 4, 5 are steps 2 and 3.
  const rows = [0, 1, 2, 3].map((t) => rowOffset(shape, t));
  assert.deepEqual(rows, [0, 6, 3, 9]);
  assert.deepEqual(
    [0, 1, 2, 3].map((t) => chunkOffset(shape, t)),
    [0, 0, 3, 3],
  );
  const single = { steps: 4, envs: 3, chunkLength: 1 } as RolloutShape;
  assert.deepEqual(
    [0, 1, 2, 3].map((t) => rowOffset(single, t)),
    [0, 3, 6, 9],
  );
});

/** A task in which everything depends on everything, ends of both kinds included. */
function busyTask({ discrete, ownStates }: Pick<Setup, "discrete" | "ownStates">): FakeTask {
  const wave = ({ env, episode, step, memory }: Moment, shift: number): number =>
    Math.sin(1.3 * env + 2.1 * episode + 0.7 * step + shift) + memory;
  return {
    agents: AGENTS,
    observationSize: OBSERVATION,
    stateSize: STATE,
    actionSpace: discrete
      ? { kind: "discrete", count: CHOICES }
      : { kind: "continuous", size: ACTION, low: -2, high: 1 },
    observation: (moment, agent) =>
      Array.from({ length: OBSERVATION }, (_, k) => wave(moment, agent + 10 * k)),
    statePerAgent: ownStates,
    state: (moment, agent) =>
      Array.from({ length: STATE }, (_, k) => wave(moment, 100 + 10 * k + (ownStates ? agent : 0))),
    episodeFigures: ["won", "left"],
    // One choice is always left.
    actionMask: ({ env, step }, agent) => [1, (env + step + agent) % 2, step % 3 === 0 ? 0 : 1],
    active: ({ step }, agent) => agent !== 1 || step < 2,
    step: ({ env, step, memory }, actions) => ({
      reward: actions.flat().reduce((sum, value, index) => sum + (index + 1) * value, 0) + memory,
      memory: 0.5 * memory + 0.1 * actions[0]![0]!,
      figures: [env, step / 4],
      terminated: env === 1 && step === 2,
      // Environment 3 never ends; in environment 2 both limits fall together.
      truncated: (env === 0 && step === 3) || (env === 2 && step === 4),
    }),
  };
}

interface Setup {
  readonly discrete: boolean;
  readonly recurrent: boolean;
  readonly perAgentCritic: boolean;
  readonly individual: boolean;
  readonly ownStates: boolean;
}

function networks({ discrete, recurrent, perAgentCritic, individual, ownStates }: Setup): {
  actor: ActorConfig;
  critic: CriticConfig;
} {
  const body = {
    featureNorm: true,
    hidden: [6],
    activation: "tanh",
    recurrent: recurrent && { layersAfter: 1 },
  } as const;
  return {
    actor: {
      encoder: { agents: AGENTS, size: OBSERVATION, agentId: true, standardise: true },
      body,
      head: discrete
        ? { kind: "categorical", size: CHOICES }
        : { kind: "squashed-gaussian", size: ACTION, low: -2, high: 1, stdX: 1, stdY: 0.5 },
    },
    critic: {
      encoder: {
        agents: perAgentCritic ? AGENTS : 1,
        size: STATE,
        agentId: perAgentCritic,
        standardise: false,
      },
      ownStates,
      separate: perAgentCritic && individual,
      body,
    },
  };
}

function shapeOf({ discrete, recurrent, perAgentCritic, ownStates }: Setup): RolloutShape {
  return {
    agents: AGENTS,
    heads: perAgentCritic ? AGENTS : 1,
    steps: STEPS,
    envs: ENVS,
    chunkLength: recurrent ? CHUNK_LENGTH : 1,
    observationSize: OBSERVATION,
    stateSize: STATE,
    stateRows: ownStates ? AGENTS : 1,
    drawnSize: discrete ? 1 : ACTION,
    maskSize: discrete ? CHOICES : 0,
    actorHidden: recurrent ? 6 : 0,
    criticHidden: recurrent ? 6 : 0,
    finalValues: true,
  };
}

const SETUPS: readonly Setup[] = [
  { discrete: false, recurrent: true, perAgentCritic: true, individual: false, ownStates: false },
  { discrete: true, recurrent: true, perAgentCritic: false, individual: true, ownStates: false },
  { discrete: true, recurrent: false, perAgentCritic: true, individual: false, ownStates: true },
  { discrete: false, recurrent: false, perAgentCritic: false, individual: true, ownStates: false },
  { discrete: true, recurrent: true, perAgentCritic: true, individual: true, ownStates: true },
];

for (const setup of SETUPS) {
  const { discrete, recurrent, perAgentCritic, individual, ownStates } = setup;
  const name = [
    discrete ? "choices" : "continuous actions",
    recurrent ? "recurrent" : "feed-forward",
    perAgentCritic ? "a value an agent" : "one value",
    individual ? "weights an agent" : "shared weights",
    ownStates ? "a state an agent" : "one state",
  ].join(", ");
  test(`the collector fills the buffer as one plain loop would: ${name}`, async () => {
    const { actor, critic } = networks(setup);
    const layout = actorParameters(actor, { kind: individual ? "individual" : "shared" }).backbone;
    const criticLayout = criticParameters(critic);
    const weights = moved(initialise(layout, new Random(1)), 2);
    const criticWeights = moved(initialise(criticLayout, new Random(3)), 4);
    const acting = (envs: number): ActingConfig => ({
      actor,
      backbone: layout,
      perAgent: individual,
      envs,
      critic: { config: critic, layout: criticLayout },
      sampled: true,
    });

    const vectorEnv = fakeVectorEnv(busyTask(setup), { envs: ENVS, groups: GROUPS });
    vectorEnv.reset(5);
    const runtime = createRuntime();
    const session = runtime.createSession(encodeModel(actingGraph(acting(ENVS / GROUPS))));
    const shape = shapeOf(setup);
    const collector = new Collector({ runtime, session, vectorEnv, shape, discrete });
    collector.setParameters(
      runtime.upload(floatTensor(layout.dims, weights)),
      runtime.upload(floatTensor(criticLayout.dims, criticWeights)),
    );
    collector.reset();
    const plain = plainCollector(setup, acting(1), weights, criticWeights);

    const random = new Random(9);
    const noise = new Random(9);
    for (let rollout = 0; rollout < 3; rollout++) {
      const buffer = createRolloutBuffer(shape);
      const episodes = await collector.collect(buffer, random);
      const expected = plain.collect(noise);
      assert.ok(expected.episodes.length >= (rollout === 0 ? 3 : 1));
      assert.deepEqual(episodes.map(rounded).sort(byReturn), expected.episodes.map(rounded).sort(byReturn));
      compare(buffer, expected.buffer, `rollout ${rollout}`);
    }
    collector.dispose();
    session.dispose();
  });
}

/** Values of final observations are defined where an episode was cut off; everything else everywhere. */
function compare(actual: RolloutBuffer, expected: RolloutBuffer, what: string): void {
  for (const key of Object.keys(expected) as (keyof RolloutBuffer)[]) {
    if (key === "shape" || key === "rows" || key === "chunks" || key === "finalValues") continue;
    assertClose(actual[key], expected[key], { atol: 1e-5 }, `${what}, ${key}`);
  }
  const { rows, shape } = expected;
  assert.ok(expected.truncated.includes(1) && expected.terminated.includes(1), "both kinds of end happen");
  for (let head = 0; head < shape.heads; head++) {
    for (let row = 0; row < rows; row++) {
      if (expected.truncated[row] === 0) continue;
      const at = head * rows + row;
      assertClose(
        [actual.finalValues[at]!],
        [expected.finalValues[at]!],
        { atol: 1e-5 },
        `${what}, final values`,
      );
    }
  }
}

/** The same rollouts from one environment after another, a graph of one environment run at a time. */
function plainCollector(
  setup: Setup,
  acting: ActingConfig,
  weights: Float32Array,
  criticWeights: Float32Array,
): { collect(noise: Random): { buffer: RolloutBuffer; episodes: Episode[] } } {
  const session = createRuntime().createSession(encodeModel(actingGraph(acting)));
  const shape = shapeOf(setup);
  const width = hiddenSize(acting.actor.body);
  const noiseSize = acting.actor.head.size;
  const singles = Array.from({ length: ENVS }, (_, e) => {
    // An environment alone, told which one of the four it is.
    const task = busyTask(setup);
    const env = fakeVectorEnv(
      {
        ...task,
        observation: (moment, agent) => task.observation({ ...moment, env: e }, agent),
        state: (moment, agent) => task.state({ ...moment, env: e }, agent),
        actionMask: (moment, agent) => task.actionMask!({ ...moment, env: e }, agent),
        step: (moment, actions) => task.step({ ...moment, env: e }, actions),
      },
      { envs: 1, groups: 1 },
    );
    env.reset(5);
    const zeros = (heads: number): Float32Array => new Float32Array(heads * width);
    return { env, hidden: zeros(AGENTS), criticHidden: zeros(shape.heads), began: true };
  });
  const infer = (
    single: (typeof singles)[number],
    noise: readonly number[],
    observations: Float32Array,
    state: Float32Array,
  ): Record<string, FloatTensor> => {
    const group = single.env.groups[0]!;
    return session.run({
      parameters: floatTensor(acting.backbone.dims, weights),
      critic_parameters: floatTensor(acting.critic!.layout.dims, criticWeights),
      observations: floatTensor([AGENTS, 1, OBSERVATION], observations),
      state: floatTensor([shape.stateRows, 1, STATE], state),
      noise: floatTensor([AGENTS, 1, noiseSize], noise),
      ...(setup.discrete && { action_mask: floatTensor([AGENTS, 1, CHOICES], group.actionMask) }),
      ...(setup.recurrent && {
        hidden: floatTensor([AGENTS, 1, width], single.hidden),
        critic_hidden: floatTensor([shape.heads, 1, width], single.criticHidden),
      }),
    }) as Record<string, FloatTensor>;
  };
  return {
    collect(random) {
      const buffer = createRolloutBuffer(shape);
      const episodes: Episode[] = [];
      const noise = noiseOf(random, setup.discrete, noiseSize);
      const silence = Array<number>(AGENTS * noiseSize).fill(0);
      for (const [e, single] of singles.entries()) {
        const group = single.env.groups[0]!;
        for (let t = 0; t < STEPS; t++) {
          const row = rowOffset(shape, t) + e;
          const put = (from: Float32Array, into: Float32Array, heads = AGENTS): void =>
            putHeads(from, into, { heads, rows: buffer.rows, row });
          const results = infer(single, noise(t, e), group.observations, group.state);
          put(group.observations, buffer.observations);
          put(group.state, buffer.state, shape.stateRows);
          put(group.active, buffer.active);
          if (setup.discrete) put(group.actionMask, buffer.actionMask);
          put(results["drawn"]!.data, buffer.drawn);
          put(results["log_prob"]!.data, buffer.logProb);
          put(results["value"]!.data, buffer.values, shape.heads);
          buffer.mask[row] = single.began ? 0 : 1;
          if (setup.recurrent && t % CHUNK_LENGTH === 0) {
            const chunk = chunkOffset(shape, t) + e;
            putHeads(single.hidden, buffer.actorHidden, { heads: AGENTS, rows: buffer.chunks, row: chunk });
            putHeads(single.criticHidden, buffer.criticHidden, {
              heads: shape.heads,
              rows: buffer.chunks,
              row: chunk,
            });
          }
          if (setup.recurrent) {
            single.hidden = results["hidden_out"]!.data;
            single.criticHidden = results["critic_hidden_out"]!.data;
          }
          group.actions.set(results["action"]!.data);
          single.env.startStep(0);
          single.env.finishStep(0);
          buffer.rewards[row] = group.rewards[0]!;
          buffer.terminated[row] = group.terminated[0]!;
          buffer.truncated[row] = group.truncated[0]!;
          single.began = group.terminated[0] === 1 || group.truncated[0] === 1;
          if (!single.began) continue;
          const last = infer(single, silence, group.finalObservations, group.finalState)["value"]!.data;
          put(last, buffer.finalValues, shape.heads);
          episodes.push({
            return: group.episodeReturn[0]!,
            length: group.episodeLength[0]!,
            figures: { won: group.figures[0]!, left: group.figures[1]! },
          });
          single.hidden = new Float32Array(single.hidden.length);
          single.criticHidden = new Float32Array(single.criticHidden.length);
        }
        const next = infer(single, silence, group.observations, group.state)["value"]!.data;
        putHeads(next, buffer.bootstrapValues, { heads: shape.heads, rows: ENVS, row: e });
      }
      return { buffer, episodes };
    },
  };
}

/** Rows [heads, width] of one environment to row `row` of each head of [heads, rows, width]. */
function putHeads(
  from: Float32Array,
  into: Float32Array,
  { heads, rows, row }: { heads: number; rows: number; row: number },
): void {
  const width = from.length / heads;
  for (let head = 0; head < heads; head++) {
    into.set(from.subarray(head * width, (head + 1) * width), (head * rows + row) * width);
  }
}

/** The noise of step t and environment e: the collector draws a group's [N, G, K] at a time. */
function noiseOf(random: Random, discrete: boolean, size: number): (t: number, e: number) => number[] {
  const perGroup = ENVS / GROUPS;
  const drawn = Array.from({ length: STEPS * GROUPS }, () =>
    Array.from({ length: AGENTS * perGroup * size }, () => (discrete ? random.gumbel() : random.normal())),
  );
  return (t, e) => {
    const group = drawn[t * GROUPS + Math.floor(e / perGroup)]!;
    return Array.from({ length: AGENTS * size }, (_, at) => {
      const agent = Math.floor(at / size);
      return group[(agent * perGroup + (e % perGroup)) * size + (at % size)]!;
    });
  };
}

function moved(flat: Float32Array, seed: number): Float32Array {
  const random = new Random(seed);
  return flat.map((value) => value + 0.3 * random.normal());
}

function rounded({ return: value, ...rest }: Episode): Episode {
  return { return: Math.round(value * 1000) / 1000, ...rest };
}

function byReturn(a: Episode, b: Episode): number {
  return a.return - b.return;
}
