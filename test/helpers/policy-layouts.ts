/**
 * A team's policy through each exported graph and through the training graphs, all with the same rows in and out, so
 * that tests can compare them. Written apart from the exporters' own verification.
 *
 * Letters: N agents, E environments, O padded observation, K padded action, H hidden.
 */

import {
  type GraphOptions,
  mergedGraph,
  rowsGraph,
  singleGraph,
  stackedGraph,
  teamGraph,
} from "../../exporters/graphs.ts";
import { hiddenSize } from "../../models/networks.ts";
import { agentAdapter, type Team } from "../../models/team.ts";
import { toHalf } from "../../src/base/half.ts";
import type { Random } from "../../src/base/random.ts";
import { elementCount, type FloatTensor, floatTensor, type HostTensor } from "../../src/base/tensor.ts";
import { encodeModel } from "../../src/onnx/encode.ts";
import type { OnnxModel } from "../../src/onnx/model.ts";
import { createRuntime } from "../../src/runtime/onnxruntime.ts";
import type { Session } from "../../src/runtime/session.ts";
import { actingGraph, formsNetworks, networksGraph } from "../../src/training/acting-graph.ts";

type Tensors = Readonly<Record<string, HostTensor>>;

/** One step of a team, float32 [N, E, …] each, zeros beyond an agent's own sizes; `hidden_in` only of recurrent actors. */
export type TeamStep = Readonly<Record<string, FloatTensor>>;

/** Takes a step and gives every output as [N, E, width], in plain numbers. */
export interface PolicyLayout {
  run(step: TeamStep): Record<string, Float32Array>;
  dispose(): void;
}

/** Random rows of a team; states start at zero. */
export function randomTeamStep(team: Team, envs: number, sampled: boolean, random: Random): TeamStep {
  const { encoder, head, body } = team.actor;
  const categorical = head.kind === "categorical";
  const rows = (width: number, own: (agent: Team["agents"][number]) => number, draw: (k: number) => number) =>
    floatTensor(
      [team.agents.length, envs, width],
      Float32Array.from({ length: team.agents.length * envs * width }, (_, at) => {
        const k = at % width;
        return k < own(team.agents[Math.floor(at / (width * envs))]!) ? draw(k) : 0;
      }),
    );
  const noise = (): number => (categorical ? random.gumbel() : random.normal());
  const hidden = hiddenSize(body);
  return {
    obs: rows(
      encoder.size,
      (agent) => agent.observationSize,
      () => random.normal(),
    ),
    ...(categorical && {
      action_mask: rows(
        head.size,
        (agent) => agent.actionSize,
        (k) => (k === 0 || random.uniform() < 0.6 ? 1 : 0),
      ),
    }),
    ...(sampled && { noise: rows(head.size, (agent) => agent.actionSize, noise) }),
    ...(hidden > 0 && { hidden_in: floatTensor([team.agents.length, envs, hidden]) }),
  };
}

/** Every layout that the team's sharing has, by name. */
export function exportedLayouts(team: Team, options: GraphOptions): Record<string, PolicyLayout> {
  const layouts: Record<string, PolicyLayout> = {
    merged: agentLayout(
      team,
      team.agents.map((_, agent) => mergedGraph(team, agent, options)),
      () => ({}),
    ),
    stacked: teamLayout(stackedGraph(team, options), {}),
  };
  if (!hasFactors(team)) return layouts;
  const adapters = team.agents.map((_, agent) => foldedAdapter(team, agent));
  const bank = stackTensors(adapters);
  const single = singleGraph(team, options);
  return {
    ...layouts,
    team: teamLayout(teamGraph(team, options), bank),
    rows: rowsLayout(team, rowsGraph(team, options), bank),
    single: agentLayout(
      team,
      team.agents.map(() => single),
      (agent) => {
        const row = floatTensor([1, team.agents.length]);
        row.data[agent] = 1;
        return { ...adapters[agent]!, agent_id: row };
      },
    ),
  };
}

/** Whether the team has graphs whose adapters are inputs: one backbone for all is under them. */
export function hasFactors({ sharing }: Team): boolean {
  return sharing.kind === "low-rank" && sharing.clusterOf === undefined;
}

/** What rollouts run: every agent's network formed by the training graph, then the acting graph. */
export function actingLayout(team: Team, envs: number, sampled: boolean): PolicyLayout {
  const { parameters, sharing } = team;
  const agents = team.agents.length;
  let flat = floatTensor(parameters.backbone.dims, team.backbone);
  if (formsNetworks(sharing)) {
    const adapters = team.adapters && floatTensor(parameters.adapters!.dims, team.adapters);
    const feeds = { backbone: flat, ...(adapters && { adapters }) };
    flat = runOnce(networksGraph(parameters, sharing, agents), feeds)["networks"] as FloatTensor;
  }
  const session = createRuntime().createSession(
    encodeModel(
      actingGraph({
        actor: team.actor,
        backbone: parameters.backbone,
        perAgent: sharing.kind !== "shared",
        envs,
        sampled,
      }),
    ),
  );
  return {
    run: ({ obs, hidden_in, ...rest }) => {
      const feeds = {
        ...rest,
        parameters: flat,
        observations: obs!,
        ...(hidden_in && { hidden: hidden_in }),
      };
      return mapValues(session.run(feeds) as Tensors, ({ data }) => data as Float32Array);
    },
    dispose: () => session.dispose(),
  };
}

function teamLayout(model: OnnxModel, bank: Tensors): PolicyLayout {
  const session = createRuntime().createSession(encodeModel(model));
  return {
    run: (step) => mapValues(session.run(typed(session, { ...step, ...bank })) as Tensors, numbers),
    dispose: () => session.dispose(),
  };
}

/** Rows in reverse, so that their order matters; slots in reverse too, so that an agent is not its slot. */
function rowsLayout(team: Team, model: OnnxModel, bank: Tensors): PolicyLayout {
  const session = createRuntime().createSession(encodeModel(model));
  const agents = team.agents.length;
  const reversedBank = mapValues(bank, (tensor) => reversed(tensor as FloatTensor, tensor.dims));
  return {
    run: (step) => {
      const [, envs] = step["obs"]!.dims as readonly [number, number, number];
      const count = agents * envs;
      const agent = BigInt64Array.from({ length: count }, (_, at) =>
        BigInt(Math.floor((count - 1 - at) / envs)),
      );
      const slot = agent.map((index) => BigInt(agents - 1) - index);
      const index = (data: BigInt64Array): HostTensor => ({ dtype: "int64", dims: [count], data });
      const rows = mapValues(step, (tensor) => reversed(tensor, [count, tensor.dims.at(-1)!]));
      const feeds = { ...rows, ...reversedBank, agent: index(agent), slot: index(slot) };
      const results = session.run(typed(session, feeds)) as Tensors;
      return mapValues(
        results,
        (tensor) => reversed(floatTensor(tensor.dims, numbers(tensor)), tensor.dims).data,
      );
    },
    dispose: () => session.dispose(),
  };
}

/** A run an agent, its rows cut to what its graph takes and what it gives padded with zeros. */
function agentLayout(
  team: Team,
  models: readonly OnnxModel[],
  fixed: (agent: number) => Tensors,
): PolicyLayout {
  const sessions = models.map((model) => createRuntime().createSession(encodeModel(model)));
  return {
    run: (step) => {
      const [, envs] = step["obs"]!.dims as readonly [number, number, number];
      const answers: Record<string, Float32Array> = {};
      for (const [agent, session] of sessions.entries()) {
        const feeds: Record<string, HostTensor> = { ...fixed(agent) };
        for (const { name, shape } of session.inputs) {
          if (step[name]) feeds[name] = agentRows(step[name], agent, envs, shape.at(-1) as number);
        }
        for (const [name, tensor] of Object.entries(session.run(typed(session, feeds)) as Tensors)) {
          const width = paddedWidth(team, name, tensor.dims.at(-1)!);
          answers[name] ??= new Float32Array(team.agents.length * envs * width);
          const values = numbers(tensor);
          const own = tensor.dims.at(-1)!;
          for (let env = 0; env < envs; env++) {
            const row = values.subarray(env * own, (env + 1) * own);
            answers[name].set(row, (agent * envs + env) * width);
          }
        }
      }
      return answers;
    },
    dispose: () => {
      for (const session of sessions) session.dispose();
    },
  };
}

function paddedWidth(team: Team, name: string, width: number): number {
  if (name === "hidden_out" || name === "log_prob") return width;
  if (name === "action" && team.actor.head.kind === "categorical") return 1;
  return team.actor.head.size;
}

function agentRows(tensor: FloatTensor, agent: number, envs: number, width: number): FloatTensor {
  const stride = tensor.dims.at(-1)!;
  const data = Float32Array.from({ length: envs * width }, (_, at) => {
    return tensor.data[(agent * envs + Math.floor(at / width)) * stride + (at % width)]!;
  });
  return floatTensor([envs, width], data);
}

/** A factor of a layer as graphs take it: scale·B. */
function foldedAdapter(team: Team, agent: number): Record<string, FloatTensor> {
  return Object.fromEntries(
    agentAdapter(team, agent).flatMap(({ name, loraA, loraB, scale }) => [
      [`${name}.lora_A.weight`, loraA],
      [
        `${name}.lora_B.weight`,
        floatTensor(
          loraB.dims,
          loraB.data.map((value) => value * scale),
        ),
      ],
    ]),
  );
}

function stackTensors(
  adapters: readonly Readonly<Record<string, FloatTensor>>[],
): Record<string, FloatTensor> {
  return mapValues(adapters[0]!, ({ dims }, name) =>
    floatTensor(
      [adapters.length, ...dims],
      adapters.flatMap((adapter) => [...adapter[name]!.data]),
    ),
  );
}

/** Feeds in the types of the graph's inputs: float16 adapters where it asks for them. */
function typed(session: Session, feeds: Tensors): Tensors {
  const halves = new Set(session.inputs.filter(({ dtype }) => dtype === "float16").map(({ name }) => name));
  return mapValues(feeds, ({ dtype, dims, data }, name): HostTensor => {
    return halves.has(name)
      ? { dtype: "float16", dims, data: toHalf(data as Float32Array) }
      : { dtype, dims, data };
  });
}

/** The blocks of the first axis of `dims` in reverse order. */
function reversed({ data }: FloatTensor, dims: readonly number[]): FloatTensor {
  const size = elementCount(dims.slice(1));
  const count = dims[0]!;
  const turned = new Float32Array(data.length);
  for (let at = 0; at < count; at++)
    turned.set(data.subarray(at * size, (at + 1) * size), (count - 1 - at) * size);
  return floatTensor(dims, turned);
}

function runOnce(model: OnnxModel, feeds: Tensors): Tensors {
  const session = createRuntime().createSession(encodeModel(model));
  const results = session.run(feeds) as Tensors;
  session.dispose();
  return results;
}

function numbers({ data }: HostTensor): Float32Array {
  return Float32Array.from(data as ArrayLike<number | bigint>, Number);
}

function mapValues<A, B>(
  record: Readonly<Record<string, A>>,
  change: (value: A, name: string) => B,
): Record<string, B> {
  return Object.fromEntries(Object.entries(record).map(([name, value]) => [name, change(value, name)]));
}
