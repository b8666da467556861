/** JSON Schemas of every request and reply body, each in one place. Not what checks requests: that is where they are read. */
import { ID_LIMIT_CHARACTERS, RANK_LIMIT, TENSOR_LIMIT } from "../limits.ts";
import { DATATYPES } from "../protocol/datatypes.ts";

/** A schema of JSON Schema 2020-12, as OpenAPI 3.1 has them. */
export type Schema = Readonly<Record<string, unknown>>;

const TEXT: Schema = { type: "string" };
const FLAG: Schema = { type: "boolean" };
const COUNT: Schema = { type: "integer", minimum: 0 };
const TIME_MS: Schema = { ...COUNT, description: "Milliseconds since 1970; 0 for never." };
const VERSION: Schema = { type: "string", pattern: "^[0-9]+$" };
const SIZES: Schema = { type: "array", items: { type: "integer" } };
const PARAMETER: Schema = { type: ["string", "number", "boolean"] };
const STATE: Schema = { enum: ["READY", "UNAVAILABLE", "LOADING", "UNLOADING"] };
const DURATION_NAMES = [
  ...["success", "fail", "queue", "compute_input", "compute_infer", "compute_output"],
  ...["cache_hit", "cache_miss"],
];
const BATCH_DURATIONS = ["compute_input", "compute_infer", "compute_output"];

export const SCHEMAS = {
  Error: object({ error: { ...TEXT, description: "A code, a colon and one line." } }),
  Datatype: { enum: Object.keys(DATATYPES) },

  ServerLive: object({ live: FLAG }),
  ServerReady: object({ ready: FLAG }),
  ModelReady: object({ name: TEXT, ready: FLAG }),
  ServerMetadata: object({ name: TEXT, version: TEXT, extensions: list(TEXT) }),
  TensorMetadata: object({
    name: TEXT,
    datatype: ref("Datatype"),
    shape: { ...SIZES, description: "−1 where a size varies; the first is the batch." },
  }),
  ModelMetadata: object({
    name: TEXT,
    versions: list(VERSION),
    platform: TEXT,
    inputs: list(ref("TensorMetadata")),
    outputs: list(ref("TensorMetadata")),
    properties: { type: "object", additionalProperties: TEXT },
  }),

  TensorData: {
    type: "array",
    description: "Row-major, flat or nested as the shape is; no FP16.",
    items: { anyOf: [{ type: ["number", "boolean", "string"] }, ref("TensorData")] },
  },
  InferInput: object(
    {
      name: TEXT,
      datatype: ref("Datatype"),
      shape: { type: "array", items: COUNT, maxItems: RANK_LIMIT },
      parameters: object(
        {
          binary_data_size: { ...COUNT, description: "Bytes of this input after the JSON, instead of data." },
        },
        ["binary_data_size"],
      ),
      data: ref("TensorData"),
    },
    ["parameters", "data"],
  ),
  RequestedOutput: object({ name: TEXT, parameters: object({ binary_data: FLAG }, ["binary_data"]) }, [
    "parameters",
  ]),
  InferParameters: {
    ...object(
      {
        binary_data_output: { ...FLAG, description: "Every output that says nothing of its own as bytes." },
        adapter_id: { ...TEXT, description: "An adapter of the agent that is asked, such as agent_0.blue." },
        sequence_id: { type: ["integer", "string"], description: "Whose recurrent state is used and kept." },
        sequence_start: FLAG,
        sequence_end: FLAG,
        priority: { ...COUNT, description: "1 is the highest; 0 is none of its own." },
        timeout: { ...COUNT, description: "Microseconds to wait for a batch at most." },
      },
      [
        ...["binary_data_output", "adapter_id", "sequence_id", "sequence_start", "sequence_end"],
        ...["priority", "timeout"],
      ],
    ),
    additionalProperties: PARAMETER,
  },
  InferRequest: {
    description:
      "To a team: obs [E, N, O], or rows obs [B, O] with agent [B] (indices, or names as BYTES) and, where they " +
      "differ from the agents' own, adapter [B] as BYTES. To an agent or an adapter: obs [B, own O].",
    ...object(
      {
        id: { ...TEXT, maxLength: ID_LIMIT_CHARACTERS },
        parameters: ref("InferParameters"),
        inputs: { ...list(ref("InferInput")), maxItems: TENSOR_LIMIT },
        outputs: { ...list(ref("RequestedOutput")), maxItems: TENSOR_LIMIT, description: "Absent: all." },
      },
      ["id", "parameters", "outputs"],
    ),
  },
  InferOutput: object(
    {
      name: TEXT,
      datatype: ref("Datatype"),
      shape: { type: "array", items: COUNT },
      parameters: object({ binary_data_size: COUNT }),
      data: ref("TensorData"),
    },
    ["parameters", "data"],
  ),
  InferResponse: object(
    {
      id: { ...TEXT, description: "The request's, when it is not empty." },
      model_name: TEXT,
      model_version: VERSION,
      parameters: {
        ...object(
          { adapter_versions: { ...TEXT, description: "Of those that answered: agent_0=3,agent_1=1." } },
          ["adapter_versions"],
        ),
        additionalProperties: PARAMETER,
      },
      outputs: list(ref("InferOutput")),
    },
    ["id", "parameters"],
  ),

  ModelConfig: {
    ...object(
      {
        name: TEXT,
        platform: TEXT,
        backend: TEXT,
        version_policy: { type: "object" },
        max_batch_size: COUNT,
        input: list({
          ...object({ name: TEXT, data_type: ref("ConfigDatatype"), dims: SIZES, optional: FLAG }),
          additionalProperties: true,
        }),
        output: list({
          ...object({ name: TEXT, data_type: ref("ConfigDatatype"), dims: SIZES }),
          additionalProperties: true,
        }),
        instance_group: list({ type: "object" }),
        parameters: { type: "object", additionalProperties: object({ string_value: TEXT }) },
        model_warmup: list({ type: "object" }),
        default_model_filename: TEXT,
        dynamic_batching: { type: "object", description: "Of a model without state." },
        sequence_batching: { type: "object", description: "Of a recurrent model, instead." },
      },
      ["dynamic_batching", "sequence_batching"],
    ),
    description: "In the words of Triton's model_config.proto; enums are their names.",
  },
  ConfigDatatype: { type: "string", pattern: "^TYPE_[A-Z0-9]+$" },

  Duration: object({ count: COUNT, ns: COUNT }),
  ModelStatistics: object({
    name: TEXT,
    version: VERSION,
    last_inference: TIME_MS,
    inference_count: { ...COUNT, description: "A request counts its batch size." },
    execution_count: { ...COUNT, description: "Batches that were run." },
    inference_stats: object(Object.fromEntries(DURATION_NAMES.map((name) => [name, ref("Duration")]))),
    response_stats: { type: "object", additionalProperties: false },
    batch_stats: list(
      object({
        batch_size: COUNT,
        ...Object.fromEntries(BATCH_DURATIONS.map((name) => [name, ref("Duration")])),
      }),
    ),
    memory_usage: list(object({ type: { enum: ["CPU", "CPU_PINNED", "GPU"] }, id: COUNT, byte_size: COUNT })),
  }),
  Statistics: object({ model_stats: list(ref("ModelStatistics")) }),

  IndexRequest: object({ ready: { ...FLAG, description: "Only what is ready." } }, ["ready"]),
  IndexEntry: object({ name: TEXT, version: TEXT, state: STATE, reason: TEXT }),
  RepositoryIndex: list(ref("IndexEntry")),
  LoadRequest: object({ parameters: object({}) }, ["parameters"]),
  UnloadRequest: object({ parameters: object({ unload_dependents: FLAG }, ["unload_dependents"]) }, [
    "parameters",
  ]),

  Adapter: object({
    name: TEXT,
    version: { ...TEXT, description: "Rises with every change; empty when none is loaded." },
    state: { enum: ["READY", "UNAVAILABLE"] },
    reason: TEXT,
    agent: TEXT,
    resident: { ...FLAG, description: "In memory; otherwise its next request reads it from its files." },
    pinned: FLAG,
    sha256: { type: "string", pattern: "^([0-9a-f]{64})?$" },
    bytes: COUNT,
    loaded_at_ms: TIME_MS,
    last_used_ms: TIME_MS,
    previous_version: { ...TEXT, description: "What a rollback restores; empty for nothing." },
  }),
  AdapterIndex: list(ref("Adapter")),
  AdaptedLayer: object({ name: TEXT, in: COUNT, out: COUNT, rank: COUNT, scale: { type: "number" } }),
  AdapterDescription: {
    allOf: [ref("Adapter"), object({ layers: list(ref("AdaptedLayer")) })],
  },
  AdapterLoad: object({
    parameters: object(
      {
        path: { ...TEXT, description: "Folder of an adapter in the model's own adapter folder." },
        config: { ...TEXT, description: "Text of adapter_config.json." },
        "file:adapter_model.safetensors": { ...TEXT, contentEncoding: "base64" },
        load_inplace: { ...FLAG, description: "Whether a loaded adapter may be replaced." },
        pin: { ...FLAG, description: "Keeps it in memory." },
        sha256: {
          type: "string",
          description: "What the tensors' file must have.",
          pattern: "^[0-9a-fA-F]{64}$",
        },
      },
      ["path", "config", "file:adapter_model.safetensors", "load_inplace", "pin", "sha256"],
    ),
  }),
  AdapterUnload: object(
    {
      parameters: object(
        { drain: { ...FLAG, description: "Waits for requests that have begun; otherwise they refuse it." } },
        ["drain"],
      ),
    },
    ["parameters"],
  ),

  ApiDescription: { type: "object", description: "This document: OpenAPI 3.1." },

  ModelCard: object({
    id: TEXT,
    object: { const: "model" },
    owned_by: TEXT,
    created: { ...COUNT, description: "Seconds since 1970." },
    root: { ...TEXT, description: "The name that /v2 has it under." },
    parent: { type: ["string", "null"], description: "The model of an adapter." },
  }),
  ModelCards: object({ object: { const: "list" }, data: list(ref("ModelCard")) }),
  LoraLoad: {
    ...object({ lora_name: TEXT, lora_path: TEXT, load_inplace: FLAG }, ["load_inplace"]),
    additionalProperties: true,
  },
  LoraUnload: { ...object({ lora_name: TEXT }), additionalProperties: true },
  LoraError: object({
    error: object({
      message: TEXT,
      type: TEXT,
      param: { type: "null" },
      code: { ...COUNT, description: "The status." },
    }),
  }),
} as const satisfies Record<string, Schema>;

export type SchemaName = keyof typeof SCHEMAS;

/** A reference to a schema of the table. */
export function ref(name: string): Schema {
  return { $ref: `#/components/schemas/${name}` };
}

function list(items: Schema): Schema {
  return { type: "array", items };
}

/** An object of these fields; all but the optional ones are always there. */
function object(properties: Readonly<Record<string, Schema>>, optional: readonly string[] = []): Schema {
  const required = Object.keys(properties).filter((name) => !optional.includes(name));
  return { type: "object", properties, ...(required.length > 0 && { required }) };
}
