/** Requests for inference that are wrong on purpose, made from sound ones. Not how they are sent. */
import { deflateSync, gzipSync } from "node:zlib";
import fc from "fast-check";
import { bytes, type HostileRequest, lyingHeader, oddHeaders } from "./hostile-headers.ts";
import { changeTree, jsonChange, printTree, toTree } from "./hostile-json.ts";

/** The models that requests are for: `team` keeps a state, `flat` has its adapters merged and takes a mask. */
export const TARGETS = [
  { name: "team", mode: "factored", hidden: 4, observationSizes: [3, 2] },
  { name: "flat", mode: "merged", discrete: true },
] as const;

const OBS = { name: "obs", datatype: "FP32", shape: [1, 2, 3], data: [1, 2, 3, 4, 5, 0] };
const HIDDEN = { name: "hidden_in", datatype: "FP32", shape: [1, 2, 4], data: [1, 2, 3, 4, 5, 6, 7, 8] };
const ROWS = [
  { ...OBS, shape: [2, 3] },
  { ...HIDDEN, shape: [2, 4] },
];
const tags = (name: string, datatype: string, data: readonly unknown[]): object => ({
  name,
  datatype,
  shape: [2],
  data,
});

/** Sound requests, one for each way of asking. */
const SOUND: readonly (readonly [model: string, request: object])[] = [
  [
    "team",
    { id: "a", inputs: [OBS, HIDDEN], outputs: [{ name: "action", parameters: { binary_data: true } }] },
  ],
  [
    "team",
    { inputs: [OBS], parameters: { sequence_id: 7, sequence_start: true, priority: 1, timeout: 1e6 } },
  ],
  ["team", { inputs: [OBS], parameters: { sequence_id: "seven", sequence_start: true, sequence_end: true } }],
  ["team", { inputs: [...ROWS, tags("agent", "INT32", [0, 1])] }],
  [
    "team",
    { inputs: [...ROWS, tags("agent", "INT64", [1, 0]), tags("adapter", "BYTES", ["agent_1", "agent_0"])] },
  ],
  [
    "team",
    {
      inputs: [...ROWS, tags("agent", "BYTES", ["agent_1", "agent_1"])],
      parameters: { binary_data_output: true },
    },
  ],
  [
    "team.agent_0",
    {
      inputs: [
        { ...OBS, shape: [2, 3] },
        { ...HIDDEN, shape: [2, 4] },
      ],
      parameters: { adapter_id: "agent_0" },
    },
  ],
  [
    "team.agent_1",
    { inputs: [{ ...OBS, shape: [3, 2] }], parameters: { sequence_id: 1, sequence_start: true } },
  ],
  [
    "flat",
    {
      inputs: [
        OBS,
        { name: "action_mask", datatype: "BOOL", shape: [1, 2, 2], data: [true, false, true, true] },
      ],
    },
  ],
  ["flat.agent_1", { inputs: [{ ...OBS, shape: [2, 3] }], outputs: [{ name: "action" }] }],
];

const HEADER_LENGTHS = [
  "0",
  "-1",
  "1",
  "7",
  "99999999",
  "1e1",
  "0x10",
  " 5",
  "5,5",
  "",
  "NaN",
  "18446744073709551616",
  "9".repeat(40),
];
const CODINGS = {
  none: (body: Buffer) => body,
  gzip: (body: Buffer) => gzipSync(body),
  deflate: (body: Buffer) => deflateSync(body),
  torn: (body: Buffer) => gzipSync(body).subarray(0, -6),
  false: (body: Buffer) => body,
} as const satisfies Record<string, (body: Buffer) => Buffer>;

/** Inference, as JSON or with tensors as bytes behind it. */
export const inferRequest: fc.Arbitrary<HostileRequest> = fc
  .record({
    sound: fc.constantFrom(...SOUND),
    changes: fc.array(jsonChange, { maxLength: 4 }),
    binary: fc.boolean(),
    headerLength: fc.oneof(
      { weight: 6, arbitrary: fc.constant(undefined) },
      { weight: 1, arbitrary: fc.integer({ min: -9, max: 9 }) },
      { weight: 1, arbitrary: fc.constantFrom(...HEADER_LENGTHS) },
    ),
    tail: fc.oneof(
      { weight: 5, arbitrary: fc.constant(Buffer.alloc(0)) },
      { weight: 1, arbitrary: bytes(40) },
    ),
    coding: fc.oneof(
      { weight: 5, arbitrary: fc.constant("none" as const) },
      { weight: 2, arbitrary: fc.constantFrom(...(Object.keys(CODINGS) as (keyof typeof CODINGS)[])) },
    ),
    headers: oddHeaders,
    lying: lyingHeader,
  })
  .map(({ sound: [model, request], changes, binary, headerLength, tail, coding, headers, lying }) => {
    const { head, data } = binary ? asBinary(request) : { head: request, data: Buffer.alloc(0) };
    const json = Buffer.from(printTree(changeTree(toTree(head), changes)));
    const body = CODINGS[coding](Buffer.concat([json, data, tail]));
    const length = typeof headerLength === "string" ? headerLength : `${json.length + (headerLength ?? 0)}`;
    return {
      verb: "POST",
      path: `/v2/models/${model}/infer`,
      headers: [
        ...(binary || headerLength !== undefined
          ? [["Inference-Header-Content-Length", length] as const]
          : []),
        ...(coding === "none"
          ? []
          : [["Content-Encoding", coding === "deflate" ? "deflate" : "gzip"] as const]),
        ...headers,
        ...(lying ? [lying] : []),
      ],
      body,
      lies: lying !== undefined,
      token: false,
    };
  });

/** The same request with its numbers as bytes behind the JSON. */
function asBinary(request: object): { head: object; data: Buffer } {
  const parts: Buffer[] = [];
  const { inputs, ...rest } = request as { inputs: { datatype: string; data: unknown[] }[] };
  const described = inputs.map(({ data, ...input }) => {
    const part = tensorBytes(input.datatype, data);
    parts.push(part);
    return { ...input, parameters: { binary_data_size: part.length } };
  });
  return { head: { ...rest, inputs: described }, data: Buffer.concat(parts) };
}

function tensorBytes(datatype: string, data: readonly unknown[]): Buffer {
  if (datatype === "FP32") return Buffer.from(Float32Array.from(data as number[]).buffer);
  if (datatype === "INT32") return Buffer.from(Int32Array.from(data as number[]).buffer);
  if (datatype === "INT64") return Buffer.from(BigInt64Array.from(data as number[], BigInt).buffer);
  if (datatype === "BOOL") return Buffer.from((data as boolean[]).map(Number));
  return Buffer.concat(
    (data as string[]).map((text) => {
      const length = Buffer.alloc(4);
      length.writeUInt32LE(text.length);
      return Buffer.concat([length, Buffer.from(text)]);
    }),
  );
}
