/** Clients of the gRPC door that speak something else, flood it or take back what they asked: others are answered on. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { connect as connectHttp2, constants } from "node:http2";
import { connect, type Socket } from "node:net";
import { type TestContext, test } from "node:test";
import { startServer } from "../../server/app.ts";
import { encode, GrpcClient } from "../helpers/grpc-client.ts";
import { temporaryFolder } from "../helpers/temporary-folder.ts";
import { writeTinyRepository } from "../helpers/tiny-models.ts";

const RAW = Buffer.from(Float32Array.of(1, 2, 3, 4, 5, 6).buffer);
const SOUND = encode("ModelInferRequest", {
  model_name: "team",
  inputs: [{ name: "obs", datatype: "FP32", shape: [1, 2, 3] }],
  raw_input_contents: [RAW],
});

interface Served {
  readonly port: number;
  readonly client: GrpcClient;
  readonly faults: unknown[];
}

async function serve(context: TestContext): Promise<Served> {
  const repository = temporaryFolder(context);
  writeTinyRepository(repository, [{ mode: "factored" }]);
  const faults: unknown[] = [];
  const onFault = (fault: unknown): void => {
    faults.push(fault);
  };
  const server = await startServer({ repository, port: 0, grpcPort: 0, drainTimeoutMs: 1000, onFault });
  const port = Number(new URL(server.grpcUrl ?? "").port);
  const client = new GrpcClient(port);
  context.after(async () => {
    client.close();
    await server.close();
  });
  return { port, client, faults };
}

/** A frame of HTTP/2. */
function frame(type: number, flags: number, stream: number, payload: Buffer = Buffer.alloc(0)): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head.writeUInt8(type, 3);
  head.writeUInt8(flags, 4);
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}

const PREFACE = Buffer.concat([Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), frame(4, 0, 0)]);
const times = (count: number, make: (at: number) => Buffer): Buffer =>
  Buffer.concat(Array.from({ length: count }, (_, at) => make(at)));

/** Each is more than a client needs, or nothing that it may send. */
const FLOODS: Readonly<Record<string, Buffer>> = {
  "HTTP/1.1": Buffer.from(
    "POST /inference.GRPCInferenceService/ModelInfer HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n12345",
  ),
  "a TLS greeting": Buffer.from("16030100c8010000c40303", "hex"),
  zeros: Buffer.alloc(100_000),
  "a preface, then zeros": Buffer.concat([PREFACE, Buffer.alloc(1000)]),
  "a frame longer than any": Buffer.concat([PREFACE, frame(0, 0, 1).fill(0xff, 0, 3), Buffer.alloc(100)]),
  pings: Buffer.concat([PREFACE, times(20_000, () => frame(6, 0, 0, Buffer.alloc(8)))]),
  settings: Buffer.concat([PREFACE, times(20_000, () => frame(4, 0, 0))]),
  "settings of no kind": Buffer.concat([PREFACE, frame(4, 0, 0, Buffer.alloc(16_380, 0xff))]),
  priorities: Buffer.concat([PREFACE, times(20_000, (at) => frame(2, 0, 2 * at + 1, Buffer.alloc(5)))]),
  "window updates": Buffer.concat([
    PREFACE,
    times(20_000, () => frame(8, 0, 0, Buffer.from("7fffffff", "hex"))),
  ]),
  "headers that go on and on": Buffer.concat([
    PREFACE,
    frame(1, 0, 1, Buffer.from([0x82])),
    times(2000, () => frame(9, 0, 1, Buffer.alloc(1000, 0x82))),
  ]),
  "data of no stream": Buffer.concat([PREFACE, times(1000, () => frame(0, 0, 5, Buffer.alloc(1000)))]),
  "empty data": Buffer.concat([PREFACE, times(20_000, () => frame(0, 0, 1))]),
  "a promise": Buffer.concat([PREFACE, frame(5, 4, 1, Buffer.alloc(8))]),
};

for (const [what, bytes] of Object.entries(FLOODS)) {
  test(`${what} on the gRPC door: other calls are answered`, { timeout: 30_000 }, async (context) => {
    const { port, client, faults } = await serve(context);
    const before = await client.bytes("ModelInfer", SOUND);
    for (let round = 0; round < 3; round++) {
      const socket = await open(context, port);
      socket.write(bytes);
      // Long enough for most of it to arrive, if the server still listens.
      await client.settle();
      assert.deepEqual(await client.bytes("ModelInfer", SOUND), before);
      socket.resetAndDestroy();
    }
    assert.deepEqual(await client.bytes("ModelInfer", SOUND), before);
    assert.deepEqual(faults, []);
  });
}

test("CVE-2023-44487: streams that are begun and reset by the thousand keep nobody from an answer", {
  timeout: 30_000,
}, async (context) => {
  const { port, client, faults } = await serve(context);
  const before = await client.bytes("ModelInfer", SOUND);
  for (let round = 0; round < 5; round++) {
    const session = connectHttp2(`http://127.0.0.1:${port}`);
    context.after(() => session.destroy());
    // The server may end the session of such a client.
    session.on("error", () => undefined);
    await once(session, "connect");
    for (let at = 0; at < 1000 && !session.closed && !session.destroyed; at++) {
      const stream = session.request({
        ":method": "POST",
        ":path": "/inference.GRPCInferenceService/ModelInfer",
        "content-type": "application/grpc",
        te: "trailers",
      });
      stream.on("error", () => undefined);
      stream.close(constants.NGHTTP2_CANCEL);
    }
    assert.deepEqual(await client.bytes("ModelInfer", SOUND), before);
    session.destroy();
  }
  assert.deepEqual(faults, []);
});

test("connections that say nothing do not hold the door, nor keep it from closing", {
  timeout: 30_000,
}, async (context) => {
  const { port, client } = await serve(context);
  for (let at = 0; at < 200; at++) await open(context, port);
  await client.bytes("ModelInfer", SOUND);
});

async function open(context: TestContext, port: number): Promise<Socket> {
  const socket = connect(port, "127.0.0.1");
  context.after(() => socket.destroy());
  socket.on("error", () => undefined);
  socket.resume();
  await once(socket, "connect");
  return socket;
}
