/** Requests made wrong on purpose, as data that prints and shrinks. Not how they are sent, not what must hold then. */
import { deflateSync, gzipSync } from "node:zlib";
import fc from "fast-check";
import { ROUTES } from "../../server/http/routes.ts";
import {
  changeTree,
  HOSTILE_VALUES,
  type JsonChange,
  jsonChange,
  printTree,
  toTree,
} from "./hostile-json.ts";

export interface HostileRequest {
  readonly verb: string;
  readonly path: string;
  readonly headers: readonly (readonly [string, string])[];
  readonly body: Buffer;
  /** Whether the headers may say something else than what follows: nothing can come after it then. */
  readonly lies: boolean;
  readonly token: boolean;
}

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
  ["team", { inputs: [OBS], parameters: { sequence_id: "seven", sequence_end: true } }],
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

const HOSTILE_HEADERS: readonly (readonly [string, string])[] = [
  ["Accept-Encoding", "gzip;q=2, deflate;q=, *;q=x"],
  ["Accept-Encoding", "gzip,".repeat(500)],
  ["Accept", "text/html"],
  ["Connection", "close"],
  ["Connection", "Upgrade"],
  ["Upgrade", "websocket"],
  ["Upgrade", "h2c"],
  ["HTTP2-Settings", "AAMAAABkAAQAAP__"],
  ["Content-Type", "multipart/form-data; boundary="],
  ["Content-Type", "x".repeat(2000)],
  ["Content-Encoding", "br"],
  ["Content-Encoding", "gzip, gzip"],
  ["Content-Encoding", "identity"],
  ["__proto__", "x"],
  ["constructor", "x"],
  ["Authorization", "Bearer"],
  ["Authorization", `Bearer ${"x".repeat(4000)}`],
  ["Authorization", "Basic Og=="],
  ["Cookie", "a=b; ".repeat(300)],
  ["X-Forwarded-For", "127.0.0.1"],
  ["X-HTTP-Method-Override", "DELETE"],
  ["X-Original-URL", "/v2/repository/index"],
  ["Range", "bytes=0-0,5-"],
  ["If-None-Match", "*"],
  ["Expect", "100-continue"],
  ["Forwarded", 'for="[::1]"'],
  ["Host", ""],
  ["Origin", "http://elsewhere.invalid"],
];

/** What may be wrong with the framing; each may make HTTP's parser refuse it. */
const LYING_HEADERS: readonly (readonly [string, string])[] = [
  ["Content-Length", "0"],
  ["Content-Length", "-1"],
  ["Content-Length", "5, 5"],
  ["Content-Length", "18446744073709551616"],
  ["Content-Length", "999999999"],
  ["Content-Length", "1e3"],
  ["Content-Length", " "],
  ["Transfer-Encoding", "chunked"],
  ["Transfer-Encoding", "chunked, identity"],
  ["Transfer-Encoding", "gzip, chunked"],
  ["Transfer-Encoding", "xchunked"],
  ["Expect", "200-nothing"],
  ["X\u0000", "x"],
  ["X", "a\u0000b"],
  ["X", "a\nHost: y"],
  [" X", "x"],
  ["X ", "x"],
  ["X-Long", "x".repeat(17_000)],
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

const changes = (maxLength: number): fc.Arbitrary<JsonChange[]> => fc.array(jsonChange, { maxLength });
const headers = fc.oneof(
  { weight: 4, arbitrary: fc.constant([]) },
  { weight: 2, arbitrary: fc.array(fc.constantFrom(...HOSTILE_HEADERS), { maxLength: 3 }) },
);
const lying = fc.oneof(
  { weight: 8, arbitrary: fc.constant(undefined) },
  { weight: 1, arbitrary: fc.constantFrom(...LYING_HEADERS) },
);

/** Inference, as JSON or with tensors as bytes behind it. */
export const inferRequest: fc.Arbitrary<HostileRequest> = fc
  .record({
    sound: fc.constantFrom(...SOUND),
    changes: changes(4),
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
    headers,
    lying,
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

const NAMES: readonly string[] = [
  "team",
  "team",
  "team.agent_0",
  "team.agent_0.blue",
  "flat",
  "agent_0",
  "agent_1",
  "agent_0.blue",
  "agent_0..",
  "agent_9",
  "stats",
  "index",
  "..",
  "../team",
  "..%2fteam",
  "%2e%2e%2f%2e%2e%2fetc%2fpasswd",
  "%252e%252e",
  ".",
  "",
  "%00",
  "team%00.json",
  "team%0d%0aX: y",
  "te%61m",
  "%c0%ae%c0%ae",
  "%ff",
  "%",
  "C:%5cteam",
  "con",
  "__proto__",
  "constructor",
  "toString",
  "\u00e9",
  "a b",
  "a".repeat(129),
  "a".repeat(400),
  "a".repeat(9000),
  "$(id)",
  "{{7*7}}",
  "';--",
];
const VERSIONS = [
  "1",
  "0",
  "2",
  "-1",
  "01",
  "1.0",
  "x",
  "999999999999999999",
  "9999999999999999999",
  "%31",
  "",
];
const VERBS = [
  "GET",
  "POST",
  "HEAD",
  "PUT",
  "DELETE",
  "OPTIONS",
  "PATCH",
  "TRACE",
  "PROPFIND",
  "M-SEARCH",
  "get",
  "BREW",
];
const BODIES: readonly object[] = [
  {},
  { ready: true },
  { parameters: { unload_dependents: false } },
  { parameters: { drain: true } },
  { parameters: { path: "agent_0", load_inplace: true } },
  { parameters: { path: "../agent_0", load_inplace: true, pin: true } },
  { lora_name: "team.agent_0", lora_path: "agent_0", load_inplace: true },
  { lora_name: "team.agent_0.blue", lora_path: "../../x" },
];

/** Any route with any names, by any verb, perhaps with the token that opens it. */
export const routeRequest: fc.Arbitrary<HostileRequest> = fc
  .record({
    route: fc.constantFrom(...ROUTES),
    model: fc.constantFrom(...NAMES),
    adapter: fc.constantFrom(...NAMES),
    version: fc.constantFrom(...VERSIONS),
    verb: fc.oneof(
      { weight: 4, arbitrary: fc.constant(undefined) },
      { weight: 1, arbitrary: fc.constantFrom(...VERBS) },
    ),
    spelling: fc.oneof(
      { weight: 5, arbitrary: fc.constant([] as const) },
      {
        weight: 1,
        arbitrary: fc.tuple(
          fc.nat(80),
          fc.constantFrom(
            "/",
            "//",
            "%2f",
            "\\",
            "..",
            "%",
            "?",
            "#",
            ";",
            "\u0000",
            "\u00ff",
            " ",
            "%2e",
            "*",
            "http://x/",
          ),
        ),
      },
    ),
    body: fc.constantFrom(...BODIES),
    changes: changes(2),
    token: fc.boolean(),
    headers,
  })
  .map(({ route, model, adapter, version, verb, spelling, body, changes, token, headers }) => {
    const plain = route.path
      .replace(":model", model)
      .replace(":adapter", adapter)
      .replace(":version", version);
    const [at, text] = spelling.length === 0 ? [0, ""] : spelling;
    const cut = at % (plain.length + 1);
    return {
      verb: verb ?? route.verb,
      path: plain.slice(0, cut) + text + plain.slice(cut),
      headers,
      body:
        route.verb === "GET" ? Buffer.alloc(0) : Buffer.from(printTree(changeTree(toTree(body), changes))),
      // A path or verb of such characters is no HTTP, and a long one no request line.
      lies: verb !== undefined || /[^\x21-\x7e]|\\|^[^/]/.test(plain + text) || plain.length > 4000,
      token,
    };
  });

const FRAGMENTS: readonly string[] = [
  "GET /v2/health/live HTTP/1.1\r\n",
  "POST /v2/models/team/infer HTTP/1.1\r\n",
  "GET / HTTP/1.0\r\n",
  "GET http://x/v2 HTTP/1.1\r\n",
  "CONNECT x:443 HTTP/1.1\r\n",
  "OPTIONS * HTTP/1.1\r\n",
  "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
  "GET /v2 HTTP/9.9\r\n",
  "Host: x\r\n",
  "Host: x\r\nHost: y\r\n",
  "Content-Length: 2\r\n",
  "Content-Length: 2\r\nContent-Length: 3\r\n",
  "Content-Length: +2\r\n",
  "Transfer-Encoding: chunked\r\n",
  "Transfer-Encoding: chunked\r\nContent-Length: 2\r\n",
  "Transfer-Encoding:\tchunked\r\n",
  "Connection: close\r\n",
  "Expect: 100-continue\r\n",
  "X: a\r\n b\r\n",
  "X: a\n",
  "\r\n",
  "\n",
  "\r\n\r\n",
  "{}",
  "2\r\n{}\r\n0\r\n\r\n",
  "2;a=b\r\n{}\r\n0\r\nX: y\r\n\r\n",
  "ffffffffffffffff\r\n",
  "-1\r\n",
  "zz\r\n",
  "0\r\n\r\n",
  "\u0000",
  "\u0016\u0003\u0001\u0002\u0000\u0001\u0000\u0001\u00fc\u0003\u0003",
];

/** Bytes that may be requests, parts of them, several or none. */
export const rawBytes: fc.Arbitrary<Buffer> = fc
  .array(
    fc.oneof(
      { weight: 9, arbitrary: fc.constantFrom(...FRAGMENTS).map((text) => Buffer.from(text, "latin1")) },
      { weight: 1, arbitrary: bytes(30) },
    ),
    { maxLength: 14 },
  )
  .map((pieces) => Buffer.concat(pieces));

/** What a text field of a message may hold. */
export const hostileText = fc.constantFrom(...NAMES, ...HOSTILE_VALUES);

export function bytes(maxLength: number): fc.Arbitrary<Buffer> {
  return fc.uint8Array({ maxLength }).map((raw) => Buffer.from(raw));
}

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
