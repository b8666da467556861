/**
 * A repository of one tiny policy for tests of the server, exported by hand in every mode:
 * `tanh(x·W0 + bias[agent] + scale·(x·A)·B)`, or the arg-max of it, and `hidden_out = hidden_in / 2 + x·Wh`.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { sha256 } from "../../src/base/files.ts";
import { Random } from "../../src/base/random.ts";
import { floatTensor } from "../../src/base/tensor.ts";
import type { Adapter } from "../../src/checkpoint/adapter.ts";
import { encodeAdapter } from "../../src/checkpoint/peft.ts";
import type { ModelManifest } from "../../src/checkpoint/repository.ts";
import { GraphBuilder } from "../../src/graph/builder.ts";
import { finishGraph } from "../../src/graph/finish.ts";
import type { Value } from "../../src/graph/value.ts";
import { encodeModel } from "../../src/onnx/encode.ts";

export interface TinyOptions {
  readonly mode: ModelManifest["mode"];
  readonly name?: string;
  readonly observationSizes?: readonly number[];
  readonly actionSizes?: readonly number[];
  readonly hidden?: number;
  readonly discrete?: boolean;
  /** Agents without an adapter folder. */
  readonly without?: readonly number[];
}

const RANK = 2;
const SCALE = 1.5;
export const BACKBONE_SHA256 = sha256("tiny backbone");

/** The numbers of the policy: the same for every mode. */
export class TinyPolicy {
  readonly observationSizes: readonly number[];
  readonly actionSizes: readonly number[];
  readonly hidden: number;
  readonly discrete: boolean;
  readonly observation: number;
  readonly action: number;
  readonly weight: Float32Array;
  readonly bias: Float32Array;
  readonly hiddenWeight: Float32Array;

  constructor(options: Omit<TinyOptions, "mode">) {
    const random = new Random(7);
    this.observationSizes = options.observationSizes ?? [3, 3];
    this.actionSizes = options.actionSizes ?? this.observationSizes.map(() => 2);
    this.hidden = options.hidden ?? 0;
    this.discrete = options.discrete ?? false;
    this.observation = Math.max(...this.observationSizes);
    this.action = Math.max(...this.actionSizes);
    this.weight = normals(random, this.observation * this.action);
    this.bias = normals(random, this.agents * this.action);
    this.hiddenWeight = normals(random, this.observation * this.hidden);
  }

  get agents(): number {
    return this.observationSizes.length;
  }

  /** An adapter of seeded numbers. */
  adapter(seed: number, backboneSha256 = BACKBONE_SHA256): Adapter {
    const random = new Random(1000 + seed);
    const { observation, action } = this;
    const loraA = floatTensor([observation, RANK], normals(random, observation * RANK));
    const loraB = floatTensor([RANK, action], normals(random, RANK * action));
    const layer = { name: "policy", in: observation, out: action, rank: RANK, scale: SCALE, loraA, loraB };
    return { backboneSha256, layers: [layer] };
  }

  /** Before tanh or arg-max, in float64: one row of the agent's own sizes. */
  logits(observation: ArrayLike<number>, agent: number, adapter: Adapter): number[] {
    const effective = this.effectiveWeight(adapter);
    return Array.from({ length: this.actionSizes[agent]! }, (_, k) => {
      let sum = this.bias[agent * this.action + k]!;
      for (let i = 0; i < this.observationSizes[agent]!; i++)
        sum += observation[i]! * effective[i * this.action + k]!;
      return sum;
    });
  }

  /** W0 + scale·A·B, [O, K]. */
  effectiveWeight({ layers: [layer] }: Adapter): Float64Array {
    const effective = Float64Array.from(this.weight);
    for (let i = 0; i < this.observation; i++) {
      for (let k = 0; k < this.action; k++) {
        for (let r = 0; r < RANK; r++) {
          effective[i * this.action + k]! +=
            SCALE * layer!.loraA.data[i * RANK + r]! * layer!.loraB.data[r * this.action + k]!;
        }
      }
    }
    return effective;
  }
}

/** Writes a repository into an empty folder. */
export function writeTinyRepository(folder: string, models: readonly TinyOptions[]): void {
  for (const options of models) writeTinyModel(folder, options);
}

/** Name of the agent at an index. */
export function agentName(index: number): string {
  return `agent_${index}`;
}

function writeTinyModel(repository: string, options: TinyOptions): void {
  const policy = new TinyPolicy(options);
  const name = options.name ?? "team";
  const files = tinyFiles(policy, options, name);
  for (const [path, bytes] of Object.entries(files)) {
    mkdirSync(join(repository, name, path, ".."), { recursive: true });
    writeFileSync(join(repository, name, path), bytes);
  }
  const manifest = tinyManifest(policy, options, name, files);
  writeFileSync(join(repository, name, "model.json"), JSON.stringify(manifest, null, 2));
}

function tinyFiles(
  policy: TinyPolicy,
  { mode, without = [] }: TinyOptions,
  name: string,
): Record<string, Uint8Array> {
  const agents = [...policy.observationSizes.keys()];
  if (mode === "stacked") return { "1/team.onnx": teamGraph(policy, false) };
  if (mode === "merged") {
    return Object.fromEntries(
      agents.map((agent) => [`${name}.${agentName(agent)}/1/model.onnx`, mergedGraph(policy, agent)]),
    );
  }
  const files: Record<string, Uint8Array> = {
    "1/team.onnx": teamGraph(policy, true),
    "1/rows.onnx": rowsGraph(policy),
  };
  for (const agent of agents.filter((index) => !without.includes(index))) {
    for (const [file, bytes] of Object.entries(encodeAdapter(policy.adapter(agent)))) {
      files[`adapters/${agentName(agent)}/${file}`] = bytes;
    }
  }
  return files;
}

function tinyManifest(
  policy: TinyPolicy,
  { mode }: TinyOptions,
  name: string,
  files: Readonly<Record<string, Uint8Array>>,
): ModelManifest {
  const graphs = {
    merged: {
      agents: Object.fromEntries(
        policy.observationSizes.map((_, agent) => [
          agentName(agent),
          `${name}.${agentName(agent)}/1/model.onnx`,
        ]),
      ),
    },
    stacked: { team: "1/team.onnx" },
    factored: { team: "1/team.onnx", rows: "1/rows.onnx" },
  };
  const layer = { name: "policy", in: policy.observation, out: policy.action, rank: RANK, scale: SCALE };
  return {
    format: "lorasa-model",
    formatVersion: 1,
    name,
    version: "1",
    mode,
    sampled: false,
    opset: 17,
    precision: "fp32",
    environment: { name: "test/Tiny", stepSeconds: 0.1 },
    agents: policy.observationSizes.map((observationSize, agent) => ({
      name: agentName(agent),
      observationSize,
      actionSize: policy.actionSizes[agent]!,
    })),
    observationSize: policy.observation,
    actionSize: policy.action,
    action: policy.discrete ? { kind: "discrete" } : { kind: "continuous", low: -1, high: 1 },
    hiddenSize: policy.hidden,
    backboneSha256: BACKBONE_SHA256,
    graphs: graphs[mode],
    adapterLayers: mode === "factored" ? [layer] : [],
    files: Object.fromEntries(
      Object.entries(files).map(([path, bytes]) => [path, { bytes: bytes.length, sha256: sha256(bytes) }]),
    ),
    provenance: {},
  };
}

function mergedGraph(policy: TinyPolicy, agent: number): Uint8Array {
  const g = new GraphBuilder();
  const own = policy.observationSizes[agent]!;
  const width = policy.actionSizes[agent]!;
  const x = g.input("obs", "float32", ["B", own]);
  const effective = policy.effectiveWeight(policy.adapter(agent));
  const weight = cut(effective, policy.action, own, width);
  const bias = policy.bias.slice(agent * policy.action, agent * policy.action + width);
  const pre = g.add(
    g.matMul(x, g.constant("weight", floatTensor([own, width], weight))),
    g.constant("bias", floatTensor([width], bias)),
  );
  finishPolicy(g, policy, x, pre, ["B"], own, width);
  return encodeModel(finishGraph(g, "merged"));
}

function teamGraph(policy: TinyPolicy, factored: boolean): Uint8Array {
  const g = new GraphBuilder();
  const { agents, observation, action } = policy;
  const x = g.input("obs", "float32", [agents, "E", observation]);
  const bias = g.constant("bias", floatTensor([agents, 1, action], policy.bias));
  if (factored) {
    const loraA = g.input("policy.lora_A.weight", "float32", [agents, observation, RANK]);
    const loraB = g.input("policy.lora_B.weight", "float32", [agents, RANK, action]);
    const base = g.matMul(x, backbone(g, policy));
    const pre = g.add(g.add(base, bias), g.matMul(g.matMul(x, loraA), loraB));
    finishPolicy(g, policy, x, pre, [agents, "E"], observation, action);
  } else {
    const all = policy.observationSizes.flatMap((_, agent) => [
      ...policy.effectiveWeight(policy.adapter(agent)),
    ]);
    const weight = g.constant("weight", floatTensor([agents, observation, action], all));
    finishPolicy(g, policy, x, g.add(g.matMul(x, weight), bias), [agents, "E"], observation, action);
  }
  return encodeModel(finishGraph(g, "team"));
}

function rowsGraph(policy: TinyPolicy): Uint8Array {
  const g = new GraphBuilder();
  const { agents, observation, action } = policy;
  const x = g.input("obs", "float32", ["B", observation]);
  const agent = g.input("agent", "int64", ["B"]);
  const slot = g.input("slot", "int64", ["B"]);
  const loraA = g.gather(g.input("policy.lora_A.weight", "float32", ["S", observation, RANK]), slot);
  const loraB = g.gather(g.input("policy.lora_B.weight", "float32", ["S", RANK, action]), slot);
  const bias = g.gather(g.constant("bias", floatTensor([agents, action], policy.bias)), agent);
  const low = g.squeeze(g.matMul(g.matMul(g.unsqueeze(x, [1]), loraA), loraB), [1]);
  const pre = g.add(g.add(g.matMul(x, backbone(g, policy)), bias), low);
  finishPolicy(g, policy, x, pre, ["B"], observation, action);
  return encodeModel(finishGraph(g, "rows"));
}

function backbone(g: GraphBuilder, { observation, action, weight }: TinyPolicy): Value {
  return g.constant("weight", floatTensor([observation, action], weight));
}

function finishPolicy(
  g: GraphBuilder,
  policy: TinyPolicy,
  x: Value,
  pre: Value,
  leading: readonly (number | string)[],
  own: number,
  width: number,
): void {
  const { hidden } = policy;
  if (policy.discrete) {
    const mask = g.input("action_mask", "float32", [...leading, width]);
    const logits = g.add(pre, g.mul(g.sub(mask, 1), 1e9));
    g.output("action", g.argMax(logits));
    g.output("logits", logits);
  } else g.output("action", g.tanh(pre));
  if (hidden === 0) return;
  const state = g.input("hidden_in", "float32", [...leading, hidden]);
  const weight = g.constant(
    "hiddenWeight",
    floatTensor([own, hidden], policy.hiddenWeight.slice(0, own * hidden)),
  );
  g.output("hidden_out", g.add(g.mul(state, 0.5), g.matMul(x, weight)));
}

/** The top-left [rows, columns] of a matrix. */
function cut(matrix: ArrayLike<number>, stride: number, rows: number, columns: number): Float32Array {
  return Float32Array.from({ length: rows * columns }, (_, i) => {
    const row = Math.floor(i / columns);
    return matrix[row * stride + (i % columns)]!;
  });
}

function normals(random: Random, count: number): Float32Array {
  return Float32Array.from({ length: count }, () => random.normal() * 0.5);
}
