/** Whole graphs, those that act and those that train, give ONNX Runtime's numbers. */
import assert from "node:assert/strict";
import { initialise } from "../../models/initialise.ts";
import type { CriticConfig } from "../../models/networks.ts";
import { criticParameters } from "../../models/policy.ts";
import type { Team } from "../../models/team.ts";
import { Random } from "../../src/base/random.ts";
import { floatTensor, type HostTensor } from "../../src/base/tensor.ts";
import { encodeModel } from "../../src/onnx/encode.ts";
import type { OnnxModel } from "../../src/onnx/model.ts";
import { createRuntime } from "../../src/runtime/onnxruntime.ts";
import type { Runtime } from "../../src/runtime/session.ts";
import { actingGraph, formsNetworks, networksGraph } from "../../src/training/acting-graph.ts";
import { actorStep } from "../../src/training/actor-step.ts";
import { criticStep } from "../../src/training/critic-step.ts";
import { randomFeeds } from "../helpers/random-feeds.ts";
import type { Tensors } from "../helpers/run-graph.ts";
import { type RandomTeamOptions, randomTeam, SHARINGS } from "../helpers/team.ts";
import type { ExecutorSuite } from "./executor.ts";

const ENVS = 5;
const CHUNKS = 6;
const CHUNK_LENGTH = 4;

/** Every head, every way of sharing, with and without recurrence. */
const TEAMS: Readonly<Record<string, RandomTeamOptions>> = {
  "recurrent, squashed Gaussian, low-rank": {
    recurrent: true,
    head: "squashed-gaussian",
    sharing: "low-rank",
  },
  "recurrent, categorical, shared": { recurrent: true, head: "categorical", sharing: "shared" },
  "recurrent, categorical, low-rank": { recurrent: true, head: "categorical", sharing: "low-rank" },
  "feed-forward, categorical, individual": { head: "categorical", sharing: "individual" },
  "feed-forward, Gaussian, shared": {
    head: "gaussian",
    sharing: "shared",
    standardise: true,
    activation: "relu",
  },
};

const CRITIC: CriticConfig = {
  encoder: { agents: 3, size: 6, agentId: true, standardise: true },
  ownStates: false,
  separate: false,
  body: { featureNorm: true, hidden: [8, 8], activation: "tanh", recurrent: { layersAfter: 1 } },
};

export function testNetworks({ test, networks }: ExecutorSuite): void {
  for (const [name, options] of Object.entries(TEAMS)) {
    const team = randomTeam({ ...options, observationSizes: [5, 6, 5], actionSizes: [3, 3, 3] });
    test(`actor step: ${name}`, (runtime) => {
      assertSame(runtime, stepOf(team), weightsOf(team), networks);
    });
    test(`acting graph with a critic: ${name}`, (runtime) => {
      assertSame(runtime, actingOf(team), {}, networks);
    });
  }

  for (const sharing of SHARINGS) {
    const team = randomTeam({ sharing, recurrent: true });
    if (!formsNetworks(team.sharing)) continue;
    test(`graph that forms networks: ${sharing}`, (runtime) => {
      const { parameters, backbone, adapters } = team;
      const weights = {
        backbone: floatTensor(parameters.backbone.dims, backbone),
        ...(adapters && { adapters: floatTensor(parameters.adapters!.dims, adapters) }),
      };
      assertSame(runtime, networksGraph(parameters, team.sharing, 3), weights, networks);
    });
  }

  test("critic step: recurrent, a value an agent", (runtime) => {
    const layout = criticParameters(CRITIC);
    const step = criticStep({
      critic: CRITIC,
      layout,
      chunks: CHUNKS,
      chunkLength: CHUNK_LENGTH,
      huberDelta: 1,
      maxGradientNorm: 10,
    });
    const parameters = floatTensor(layout.dims, initialise(layout, new Random(4)));
    assertSame(runtime, step, { parameters }, networks);
  });
}

function stepOf(team: Team): OnnxModel {
  return actorStep({
    actor: team.actor,
    sharing: team.sharing,
    parameters: team.parameters,
    chunks: CHUNKS,
    chunkLength: team.actor.body.recurrent ? CHUNK_LENGTH : 1,
    advantagePerAgent: true,
    ratio: "product",
    entropyCoefficient: 0.01,
    maxGradientNorm: 10,
  });
}

function actingOf(team: Team): OnnxModel {
  return actingGraph({
    actor: team.actor,
    backbone: team.parameters.backbone,
    perAgent: team.sharing.kind !== "shared",
    envs: ENVS,
    critic: { config: CRITIC, layout: criticParameters(CRITIC) },
    sampled: true,
  });
}

/** Those trained as `parameters`, and the frozen backbone where there is one. */
function weightsOf({ parameters, backbone, adapters }: Team): Tensors {
  const own = floatTensor(parameters.backbone.dims, backbone);
  if (!adapters) return { parameters: own };
  return { frozen: own, parameters: floatTensor(parameters.adapters!.dims, adapters) };
}

/** Three runs, each of the first's kind: outputs `<name>_out` become the inputs of the next. */
function assertSame(runtime: Runtime, model: OnnxModel, weights: Tensors, part: number): void {
  const [bytes, feeds] = [encodeModel(model), { ...randomFeeds(model.inputs), ...weights }];
  const expected = runThrice(createRuntime(), bytes, feeds);
  const actual = runThrice(runtime, bytes, feeds);
  for (const [run, outputs] of expected.entries()) {
    for (const [name, { dtype, dims, data }] of Object.entries(outputs)) {
      const ours = actual[run]![name]!;
      assert.deepEqual([ours.dtype, ours.dims], [dtype, dims], name);
      const [a, b] = [ours.data as Float32Array, data as Float32Array];
      const largest = b.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
      const worst = a.reduce((most, value, at) => Math.max(most, Math.abs(value - b[at]!)), 0);
      assert.ok(worst <= part * largest, `run ${run}, ${name}: ${worst} apart, of numbers up to ${largest}`);
    }
  }
}

function runThrice(runtime: Runtime, bytes: Uint8Array, first: Tensors): Record<string, HostTensor>[] {
  const session = runtime.createSession(bytes);
  try {
    let feeds = first;
    return Array.from({ length: 3 }, () => {
      // No fetch is resident, so every result is the host's.
      const outputs = session.run(feeds) as Record<string, HostTensor>;
      const carried = Object.entries(outputs).map(
        ([name, value]) => [name.replace(/_out$/, ""), value] as const,
      );
      feeds = { ...feeds, ...Object.fromEntries(carried.filter(([name]) => name in feeds)) };
      return outputs;
    });
  } finally {
    session.dispose();
  }
}
