/**
 * A model's configuration in the words of Triton's `model_configuration` extension, which perf_analyzer and
 * tritonclient read. Made from what is served: nothing is configured by it.
 */
import type { Device } from "../../src/runtime/session.ts";
import type { ServedModel } from "../engine/service.ts";
import type { Datatype } from "./datatypes.ts";
import type { TensorMetadata } from "./request.ts";

/** What a model is beyond its tensors, and how the server runs it. */
export interface ModelFacts {
  readonly version: string;
  readonly mode: "merged" | "stacked" | "factored";
  readonly environment: string;
  readonly backboneSha256: string;
  /** The team's agents; absent where one agent answers. */
  readonly agents?: readonly string[];
  readonly device: Device;
  /** Longest time that a request waits for others. */
  readonly queueDelayMicroseconds: number;
  /** Most requests that wait. */
  readonly queueLimit: number;
  /** Most rows (environments × agents) of a request. */
  readonly rowLimit: number;
  /** How long the state of a sequence is kept without a request. */
  readonly sequenceIdleMicroseconds: number;
  /** Most sequences whose state is held. */
  readonly sequenceLimit: number;
}

/** Inputs that the server fills where a request leaves them out: all available; the sequence's state, or zeros. */
const OPTIONAL = ["action_mask", "hidden_in"];

export const PLATFORM = "onnxruntime_onnx";

/** The configuration as JSON; enums are their names, sizes do not hold the batch's axis. */
export function modelConfig(model: ServedModel, facts: ModelFacts): object {
  const { name, inputs, outputs } = model;
  const team = facts.agents?.length ?? 1;
  return {
    name,
    platform: PLATFORM,
    backend: "onnxruntime",
    version_policy: { latest: { num_versions: 1 } },
    max_batch_size: Math.floor(facts.rowLimit / team),
    input: inputs.map(describeInput),
    output: outputs.map(describeOutput),
    ...scheduling(model, facts),
    instance_group: [instanceGroup(name, facts.device)],
    default_model_filename: facts.mode === "merged" ? "model.onnx" : "team.onnx",
    parameters: Object.fromEntries(
      Object.entries(modelProperties(facts)).map(([key, value]) => [key, { string_value: value }]),
    ),
    model_warmup: [warmup(inputs)],
  };
}

/** Facts of ours, as metadata's `properties` and the configuration's `parameters` tell them. */
export function modelProperties(facts: ModelFacts): Readonly<Record<string, string>> {
  return {
    "lorasa.mode": facts.mode,
    "lorasa.environment": facts.environment,
    "lorasa.backbone_sha256": facts.backboneSha256,
    ...(facts.agents && {
      "lorasa.agents": facts.agents.join(","),
      "lorasa.tagged_rows": "the same inputs as [B, …] with agent [B], INT32 or INT64 indices or BYTES names",
    }),
  };
}

function describeInput(tensor: TensorMetadata): object {
  return {
    ...described(tensor),
    format: "FORMAT_NONE",
    is_shape_tensor: false,
    allow_ragged_batch: false,
    optional: OPTIONAL.includes(tensor.name),
  };
}

function describeOutput(tensor: TensorMetadata): object {
  return { ...described(tensor), label_filename: "", is_shape_tensor: false };
}

function described({ name, datatype, shape }: TensorMetadata) {
  return { name, data_type: dataType(datatype), dims: shape.slice(1) };
}

function dataType(datatype: Datatype): string {
  return datatype === "BYTES" ? "TYPE_STRING" : `TYPE_${datatype}`;
}

/** One of the two, as in Triton: clients tell a sequence model by the key alone. */
function scheduling({ inputs, outputs }: ServedModel, facts: ModelFacts): object {
  const state = inputs.find(({ name }) => name === "hidden_in");
  if (state && outputs.some(({ name }) => name === "hidden_out")) {
    return { sequence_batching: sequenceBatching(state, facts) };
  }
  return {
    dynamic_batching: {
      preferred_batch_size: [],
      max_queue_delay_microseconds: facts.queueDelayMicroseconds,
      preserve_ordering: false,
      priority_levels: 0,
      default_priority_level: 0,
      default_queue_policy: {
        timeout_action: "REJECT",
        default_timeout_microseconds: 0,
        allow_timeout_override: true,
        max_queue_size: facts.queueLimit,
      },
      priority_queue_policy: {},
    },
  };
}

function sequenceBatching(state: TensorMetadata, facts: ModelFacts): object {
  const { data_type, dims } = described(state);
  return {
    // "Oldest": requests of different sequences share a batch.
    oldest: {
      max_candidate_sequences: facts.sequenceLimit,
      preferred_batch_size: [],
      max_queue_delay_microseconds: facts.queueDelayMicroseconds,
      preserve_ordering: false,
    },
    max_sequence_idle_microseconds: facts.sequenceIdleMicroseconds,
    // Start and end are parameters of the request: the graphs take no control tensors.
    control_input: [],
    state: [
      {
        input_name: "hidden_in",
        output_name: "hidden_out",
        data_type,
        dims,
        initial_state: [{ name: "zeros", data_type, dims, zero_data: true }],
      },
    ],
    iterative_sequence: false,
  };
}

function instanceGroup(name: string, device: Device): object {
  const group = { name, count: 1, passive: false, secondary_devices: [], profile: [], host_policy: "" };
  if (device === "cpu") return { ...group, kind: "KIND_CPU", gpus: [] };
  return { ...group, kind: "KIND_GPU", gpus: [0] };
}

/** What the server does before it is ready. */
function warmup(inputs: readonly TensorMetadata[]): object {
  const zeros = inputs.map((tensor) => {
    const { name, data_type, dims } = described(tensor);
    return [name, { data_type, dims, zero_data: true }];
  });
  return { name: "zeros", batch_size: 1, count: 1, inputs: Object.fromEntries(zeros) };
}
