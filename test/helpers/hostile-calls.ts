/** gRPC messages that are wrong on purpose, made from sound ones. Not how they are sent. */
import fc from "fast-check";
import { encode, type Json } from "./grpc-client.ts";
import { bytes } from "./hostile-headers.ts";
import { HOSTILE_NAMES } from "./hostile-routes.ts";

export interface HostileCall {
  readonly method: string;
  readonly message: Buffer;
}

const RAW = Buffer.from(Float32Array.of(1, 2, 3, 4, 5, 0).buffer);
const OBS = { name: "obs", datatype: "FP32", shape: [1, 2, 3] };
const MASK = {
  name: "action_mask",
  datatype: "BOOL",
  shape: [1, 2, 2],
  contents: { bool_contents: [true, false, true, true] },
};

/** Sound inference, one for each way of asking. */
const SOUND: readonly Json[] = [
  {
    model_name: "flat",
    id: "a",
    inputs: [{ ...OBS, contents: { fp32_contents: [1, 2, 3, 4, 5, 0] } }, MASK],
  },
  {
    model_name: "flat",
    model_version: "1",
    inputs: [OBS],
    outputs: [{ name: "action" }],
    raw_input_contents: [RAW],
  },
  {
    model_name: "team",
    inputs: [OBS],
    parameters: { sequence_id: { uint64_param: 9 }, sequence_start: { bool_param: true } },
    raw_input_contents: [RAW],
  },
  {
    model_name: "team",
    inputs: [
      { ...OBS, shape: [2, 3], contents: { fp32_contents: [1, 2, 3, 4, 5, 0] } },
      {
        name: "hidden_in",
        datatype: "FP32",
        shape: [2, 4],
        contents: { fp32_contents: [1, 2, 3, 4, 5, 6, 7, 8] },
      },
      { name: "agent", datatype: "INT64", shape: [2], contents: { int64_contents: [1, 0] } },
      {
        name: "adapter",
        datatype: "BYTES",
        shape: [2],
        contents: { bytes_contents: [Buffer.from("agent_0"), Buffer.from("agent_1")] },
      },
    ],
    parameters: {
      priority: { int64_param: 1 },
      timeout: { double_param: 1e6 },
      adapter_id: { string_param: "agent_0" },
    },
  },
];

const METHODS: readonly string[] = [
  "ServerMetadata",
  "ModelMetadata",
  "ModelReady",
  "ModelConfig",
  "ModelStatistics",
  "RepositoryIndex",
  "RepositoryModelLoad",
  "RepositoryModelUnload",
];

interface Edit {
  readonly at: number;
  readonly how: "set" | "insert" | "remove" | "repeat" | "cut";
  readonly bytes: Buffer;
}

const edit: fc.Arbitrary<Edit> = fc.record({
  at: fc.nat(400),
  how: fc.constantFrom("set", "insert", "remove", "repeat", "cut"),
  bytes: fc.oneof(
    bytes(4),
    // Varints of every length, lengths beyond the message, groups that never end.
    fc.constantFrom(
      ...[
        "ffffffffffffffffff01",
        "ffffffffffffffffffff01",
        "8080808000",
        "ffffffff0f",
        "0b0b0b0b",
        "0c",
        "00",
      ].map((hex) => Buffer.from(hex, "hex")),
    ),
  ),
});

const inference = fc
  .tuple(fc.constantFrom(...SOUND), fc.array(edit, { maxLength: 4 }))
  .map(([sound, edits]) => ({
    method: "ModelInfer",
    message: edits.reduce(edited, encode("ModelInferRequest", sound)),
  }));

const other = fc
  .tuple(fc.constantFrom(...METHODS), fc.constantFrom(...HOSTILE_NAMES), fc.array(edit, { maxLength: 2 }))
  .map(([method, name, edits]) => {
    // Some methods call it `name`, some `model_name`: what a message does not have is left out.
    const message = encode(`${method}Request`, {
      name,
      model_name: name,
      version: name,
      repository_name: "",
    });
    return { method, message: edits.reduce(edited, message) };
  });

export const hostileCall: fc.Arbitrary<HostileCall> = fc.oneof(
  { weight: 3, arbitrary: inference },
  { weight: 1, arbitrary: other },
);

function edited(message: Buffer, { at, how, bytes: given }: Edit): Buffer {
  const start = message.length === 0 ? 0 : at % message.length;
  const [before, after] = [message.subarray(0, start), message.subarray(start)];
  if (how === "cut") return before;
  if (how === "insert") return Buffer.concat([before, given, after]);
  if (how === "set") return Buffer.concat([before, given, after.subarray(given.length)]);
  if (how === "remove") return Buffer.concat([before, after.subarray(given.length)]);
  return Buffer.concat([message, message]);
}
