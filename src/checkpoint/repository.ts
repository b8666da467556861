/**
 * The manifest `model.json` of an exported model: what exporters write and the server reads. Not how
 * graphs are made or run.
 *
 * Letters: N agents, E environments, B rows, O padded observation, K padded action, H hidden, S slots, R rank.
 *
 * A repository folder holds one folder a model:
 * - merged: `<model>/<model>.<agent>/<version>/model.onnx` and `config.pbtxt` (a Triton repository as it is);
 * - stacked: `<model>/<version>/team.onnx`;
 * - factored: `<model>/<version>/{team,rows,single}.onnx` and `<model>/adapters/<agent>/`.
 *
 * Tensors of the graphs (those that a model does not need are absent):
 *
 * | graph | inputs | outputs |
 * | --- | --- | --- |
 * | merged (one agent) | `obs [B, own O]`, `hidden_in [B, H]`, `action_mask [B, K]`, `noise [B, K]` | `action [B, K]` (discrete `[B, 1]`), `hidden_out [B, H]`, `mean`/`logits [B, K]`, sampled: `log_prob [B, 1]`, `log_std [B, K]` |
 * | team | the same with `[N, E, …]`, all agents padded to O and K | the same with `[N, E, …]` |
 * | rows | the same with `[B, …]` padded, and `agent int64 [B]`, `slot int64 [B]` | the same with `[B, …]` |
 * | single | the same with `[B, …]` padded, and `agent_id float32 [1, N]`, the agent's one-hot row | the same |
 *
 * Everything is float32 but `agent`, `slot` and a discrete `action` (int64); `action_mask` is float32, 1 = available.
 * With precision `fp16` the adapters are float16 too, see {@link ADAPTER_DTYPES}; PEFT's files stay float32.
 * Factored graphs also take the adapters as required inputs, one pair a layer of {@link AdapterLayer}:
 * `<layer>.lora_A.weight` and `<layer>.lora_B.weight`: team `[N, in, R]`, `[N, R, out]`; rows `[S, in, R]`,
 * `[S, R, out]`; single `[in, R]`, `[R, out]`. Input by rank, as Olive and ONNX Runtime's adapters have it
 * (PEFT's files hold the transposes), the scale folded into lora_B.
 */
import { z } from "zod";
import type { DType } from "../base/tensor.ts";

/** Names of models, agents and adapters: no separators, no leading dot, nothing to escape in a path or URL. */
export const NAME_PATTERN = /^[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}$/;
const name = z.string().regex(NAME_PATTERN);
const size = z.int().positive();
/** Path of a file relative to the model's folder, with `/`. */
const path = z
  .string()
  .regex(/^[A-Za-z0-9._-]+(\/[A-Za-z0-9._-]+)*$/)
  .refine((text) => !text.split("/").includes(".."));

/** Element types of the adapter inputs of a model's graphs, by its precision. */
export const ADAPTER_DTYPES = { fp32: "float32", fp16: "float16" } as const satisfies Record<string, DType>;

export type Precision = keyof typeof ADAPTER_DTYPES;

/** One adapted linear map: `y = x·W0 + scale·(x·A)·B`. The log-std vector is one with `in` 1 and rank 1 whose A is 1. */
const adapterLayer = z.object({
  name: z.string(),
  in: size,
  out: size,
  rank: size,
  scale: z.number().positive(),
});

/** Absolute differences from the trained network over a random sequence. */
const verification = z.object({
  /** What ran the graphs. */
  device: z.enum(["cpu", "webgpu", "cuda"]),
  /** Of any output; a log-probability's beyond what rounding makes of its formula. */
  maxAbsDiff: z.number().nonnegative(),
  /** Of actions, in their own units; of a choice: how much less than the network's it scores in the network's logits. */
  maxActionDiff: z.number().nonnegative(),
  /** Most that was allowed, in units of a step's largest mean or logit and half the width of the action's bounds. */
  tolerance: z.number().positive(),
});

export const modelManifest = z.object({
  format: z.literal("lorasa-model"),
  formatVersion: z.literal(1),
  name,
  /** A whole number as text, as the Open Inference Protocol wants it. */
  version: z.string().regex(/^[1-9][0-9]*$/),
  mode: z.enum(["merged", "stacked", "factored"]),
  /** Whether graphs take `noise` and give `log_prob`; otherwise the action is the mode. */
  sampled: z.boolean(),
  opset: z.int(),
  /** `fp16`: linear maps and adapters are float16 inside the graphs. */
  precision: z.enum(["fp32", "fp16"]),
  /** What the export found beside the trained network; absent where an older one did not write it. */
  verification: verification.optional(),
  environment: z.object({ name: z.string(), stepSeconds: z.number().positive() }),
  agents: z.array(z.object({ name, observationSize: size, actionSize: size })).min(1),
  /** O and K: the longest of any agent. */
  observationSize: size,
  actionSize: size,
  action: z.discriminatedUnion("kind", [
    z.object({ kind: z.literal("continuous"), low: z.number(), high: z.number() }),
    z.object({ kind: z.literal("discrete") }),
  ]),
  /** H, or 0 when the actor keeps no state. */
  hiddenSize: z.int().nonnegative(),
  /** SHA-256 of the checkpoint's backbone.safetensors: an adapter's `revision` must equal it. */
  backboneSha256: z.string().regex(/^[0-9a-f]{64}$/),
  /** Files of the graphs by role; `agents` maps each agent's name to its merged graph. */
  graphs: z.object({
    team: path.optional(),
    rows: path.optional(),
    single: path.optional(),
    agents: z.record(name, path).optional(),
  }),
  /** Adapted layers in the order of the graph's inputs; empty unless factored. */
  adapterLayers: z.array(adapterLayer),
  /** Every file of the model's folder but this one. */
  files: z.record(
    path,
    z.object({ bytes: z.int().nonnegative(), sha256: z.string().regex(/^[0-9a-f]{64}$/) }),
  ),
  /** Free text pairs: version of lorasa, training facts. */
  provenance: z.record(z.string(), z.string()),
});

export type ModelManifest = z.infer<typeof modelManifest>;
export type Verification = z.infer<typeof verification>;
export type AdapterLayer = z.infer<typeof adapterLayer>;
