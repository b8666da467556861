/**
 * Requests as Triton's own clients sent them, replayed byte for byte: status, framing and numbers of the answers. How
 * they were recorded is in `test/fixtures/wire/index.json`.
 */
import assert from "node:assert/strict";
import { rmSync } from "node:fs";
import { mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { ServerClient } from "../../server/client.ts";
import { floatTensor, type HostTensor } from "../../src/base/tensor.ts";
import { assertClose } from "../helpers/close.ts";
import {
  type Asked,
  type AskedAction,
  readWireIndex,
  type WireFixture,
  wireBytes,
} from "../helpers/wire-fixtures.ts";
import {
  callGrpc,
  decodedBody,
  exchange,
  type GrpcInfer,
  type HttpReply,
  inferResponse,
  streamResponse,
} from "../helpers/wire-replay.ts";
import {
  DISCRETE,
  expectedClasses,
  expectedTagged,
  expectedTeam,
  observations,
  RECURRENT,
  rowsOf,
  type ServedModels,
  serveModels,
  writeModels,
} from "../interop/triton-served.ts";

const { fixtures } = readWireIndex();

let folder: string;
let server: ServedModels;

before(async () => {
  folder = await mkdtemp(join(tmpdir(), "lorasa-wire-"));
  writeModels(folder);
  server = await serveModels(folder);
});

after(async () => {
  await server.close();
  rmSync(folder, { recursive: true });
});

/** In the order of recording: a sequence's steps follow each other. */
for (const fixture of fixtures) {
  test(`replayed: ${fixture.file}`, async () => {
    if (fixture.headers === undefined) await checkHttp(fixture);
    else await checkGrpc(fixture, fixture.headers);
  });
}

test("every client and every kind of request is among the recordings", () => {
  const clients = new Set(fixtures.map(({ client }) => client));
  for (const name of ["tritonclient", "perf-analyzer"])
    for (const door of ["http", "grpc"]) assert.ok(clients.has(`${name}-${door}`), `${name}-${door}`);
  const kinds = new Set(fixtures.flatMap(({ asked }) => asked.map((one) => one?.kind ?? "error")));
  assert.deepEqual([...kinds].sort(), ["action", "error", "fields", "step"]);
});

test("a recorded request in pieces, and two on one connection", async () => {
  const fixture = fixtures.find(({ file }) => file === "tritonclient-http.infer.http")!;
  const [asked] = fixture.asked;
  const bytes = wireBytes(fixture);
  const pieces = Array.from({ length: Math.ceil(bytes.length / 7) }, (_, at) =>
    bytes.subarray(at * 7, at * 7 + 7),
  );
  await checkReply((await exchange(server.url, pieces))[0]!, asked!);
  const both = await exchange(server.url, [Buffer.concat([bytes, bytes])], 2);
  assert.equal(both.length, 2);
  for (const reply of both) await checkReply(reply, asked!);
});

async function checkHttp(fixture: WireFixture): Promise<void> {
  await checkReply((await exchange(server.url, [wireBytes(fixture)]))[0]!, fixture.asked[0]!);
}

async function checkReply({ status, headers, body }: HttpReply, asked: Asked): Promise<void> {
  assert.equal(status, 200, body.toString());
  assert.equal(headers.get("content-length"), `${body.length}`);
  assert.equal(headers.has("transfer-encoding"), false);
  const coding = headers.get("content-encoding");
  const plain = decodedBody(body, coding);
  const split = headers.get("inference-header-content-length");
  const json = plain.toString("utf8", 0, Number(split ?? plain.length));
  if (asked.kind === "fields") {
    // Clients read these as they come: one of them always says that it takes gzip, and never inflates them.
    assert.equal(coding, undefined);
    if (json !== "") checkFields(JSON.parse(json), asked.fields);
    return;
  }
  const reply = JSON.parse(json) as HttpInfer;
  const binary = plain.subarray(Number(split ?? plain.length));
  const { tensors, end } = readOutputs(reply, binary);
  assert.equal(end, binary.length, "bytes after the last output");
  assert.equal(split === undefined, binary.length === 0, "the header stands for bytes that follow");
  assert.equal(
    headers.get("content-type"),
    binary.length === 0 ? "application/json" : "application/octet-stream",
  );
  if (asked.kind === "step") {
    await checkStep(tensors, asked.step);
    return;
  }
  assert.equal(reply.model_name, asked.model);
  assert.equal(reply.id, asked.id);
  if (asked.coding !== undefined) assert.equal(coding, asked.coding);
  assert.deepEqual(
    reply.outputs.map(({ name, data }) => ({ name, binary: data === undefined })),
    asked.outputs,
  );
  checkAction(tensors, asked);
}

function checkFields(reply: unknown, fields: Readonly<Record<string, unknown>> = {}): void {
  assert.ok(typeof reply === "object" && reply !== null);
  // An object: its fields are looked up by name.
  const named = reply as Record<string, unknown>;
  for (const [name, value] of Object.entries(fields)) assert.deepEqual(named[name], value);
  if (named["model_stats"]) checkStatistics(named["model_stats"] as readonly StatisticsJson[]);
  if (named["max_batch_size"] !== undefined) assert.ok(Number.isSafeInteger(named["max_batch_size"]));
}

interface StatisticsJson {
  readonly version: unknown;
  readonly inference_count: unknown;
  readonly execution_count: unknown;
  readonly inference_stats: Readonly<Record<string, { readonly count: unknown; readonly ns: unknown }>>;
}

/** C++ clients read these without looking whether they are there, or whole numbers. */
function checkStatistics(entries: readonly StatisticsJson[]): void {
  assert.ok(entries.length > 0);
  const durations = "success queue compute_input compute_infer compute_output cache_hit cache_miss".split(
    " ",
  );
  for (const { version, inference_count, execution_count, inference_stats } of entries) {
    assert.equal(typeof version, "string");
    const counts = durations.flatMap((name) => [inference_stats[name]?.count, inference_stats[name]?.ns]);
    for (const value of [inference_count, execution_count, ...counts])
      assert.ok(Number.isSafeInteger(value) && (value as number) >= 0, `${value}`);
  }
}

interface Tensor {
  readonly datatype: string;
  readonly shape: readonly number[];
  readonly data: readonly number[];
}

type Tensors = ReadonlyMap<string, Tensor>;

interface HttpInfer {
  readonly id?: string;
  readonly model_name: string;
  readonly outputs: readonly {
    readonly name: string;
    readonly datatype: string;
    readonly shape: readonly number[];
    readonly data?: readonly number[];
    readonly parameters?: { readonly binary_data_size: number };
  }[];
}

function readOutputs({ outputs }: HttpInfer, binary: Buffer): { tensors: Tensors; end: number } {
  let at = 0;
  const tensors = new Map<string, Tensor>();
  for (const { name, datatype, shape, data, parameters } of outputs) {
    const size = parameters?.binary_data_size ?? 0;
    // C++ clients want the size of any output that has parameters.
    assert.equal(parameters === undefined, data !== undefined, name);
    tensors.set(name, { datatype, shape, data: data ?? numbers(datatype, binary.subarray(at, at + size)) });
    at += size;
  }
  return { tensors, end: at };
}

function numbers(datatype: string, bytes: Buffer): number[] {
  const { buffer } = Uint8Array.from(bytes);
  if (datatype === "INT64") return Array.from(new BigInt64Array(buffer), Number);
  assert.equal(datatype, "FP32");
  return Array.from(new Float32Array(buffer));
}

/** The policy's own numbers, from the observations that the request was made of. */
function checkAction(tensors: Tensors, { model, shape, seed, tags }: AskedAction): void {
  const { data } = observations(shape, seed);
  const action = tensors.get("action")!;
  if (model === "discrete") {
    assert.deepEqual(action.data, expectedClasses(data));
    const rows = rowsOf(data, DISCRETE.observation);
    const logits = rows.flatMap((row, at) => DISCRETE.logits(row, at % 2, DISCRETE.adapter(at % 2)));
    assertClose(tensors.get("logits")!.data, logits, { atol: 2e-6 }, "logits");
    return;
  }
  assert.deepEqual(action.shape, [...shape.slice(0, -1), 2]);
  const expected = tags === undefined ? expectedTeam(data) : expectedTagged(data, tags);
  assertClose(action.data, expected, { atol: 2e-6 }, model);
}

/** The state that the server kept gives what a loop over hidden_in and hidden_out gives. */
async function checkStep(tensors: Tensors, step: number): Promise<void> {
  const client = new ServerClient(server.url);
  const shape = [1, RECURRENT.agents, RECURRENT.observation];
  let hidden: HostTensor = floatTensor([1, RECURRENT.agents, RECURRENT.hidden]);
  let expected: HostTensor | undefined;
  for (let at = 0; at <= step; at++) {
    const obs = floatTensor(shape, observations(shape, at).data);
    const { outputs } = await client.infer("recurrent", { obs, hidden_in: hidden });
    hidden = outputs["hidden_out"]!;
    expected = outputs["action"]!;
  }
  client.close();
  assertClose(tensors.get("action")!.data, expected!.data as Float32Array, { atol: 1e-5 }, `step ${step}`);
}

async function checkGrpc(fixture: WireFixture, sent: Readonly<Record<string, string>>): Promise<void> {
  const { headers, trailers, messages } = await callGrpc(server.grpcUrl, sent, wireBytes(fixture));
  assert.equal(headers[":status"], 200);
  assert.match(`${headers["content-type"]}`, /^application\/grpc/);
  assert.equal(trailers["grpc-status"], "0", `${trailers["grpc-message"]}`);
  assert.equal(messages.length, fixture.asked.length);
  const stream = sent[":path"]!.endsWith("/ModelStreamInfer");
  for (const [at, asked] of fixture.asked.entries()) {
    if (asked?.kind === "fields") continue;
    const bytes = messages[at]!;
    const { error_message, infer_response } = stream
      ? streamResponse(bytes)
      : { error_message: "", infer_response: inferResponse(bytes) };
    if (asked === null) {
      assert.match(error_message, /^LORASA_UNKNOWN_MODEL/);
      continue;
    }
    assert.equal(error_message, "");
    await checkInferResponse(infer_response!, asked);
  }
}

async function checkInferResponse(
  response: GrpcInfer,
  asked: Exclude<Asked, { kind: "fields" }>,
): Promise<void> {
  const { outputs, raw_output_contents: raw } = response;
  assert.equal(raw.length, outputs.length);
  const tensors = new Map(
    outputs.map(({ name, ...rest }, at): [string, Tensor] => [
      name,
      { ...rest, data: numbers(rest.datatype, raw[at]!) },
    ]),
  );
  if (asked.kind === "step") {
    await checkStep(tensors, asked.step);
    return;
  }
  assert.equal(response.model_name, asked.model);
  assert.equal(response.id, asked.id ?? "");
  assert.deepEqual(
    outputs.map(({ name }) => name),
    asked.outputs.map(({ name }) => name),
  );
  checkAction(tensors, asked);
}
