/** The gRPC door over a service that echoes: methods, streams, health, limits, roles, cancellation and closing. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { connect } from "node:net";
import { test } from "node:test";
import { credentials } from "@grpc/grpc-js";
import { startGrpc } from "../../server/grpc/server.ts";
import { LorasaError } from "../../src/base/errors.ts";
import { collect, EchoService, encode, gate, type Json, serveEcho } from "../helpers/grpc-client.ts";
import { selfSigned } from "../helpers/self-signed.ts";

/** A request of one row; the number tells it from others. */
function ask(value: number, more: Json = {}): Json {
  return {
    model_name: "echo",
    id: `${value}`,
    inputs: [{ name: "x", datatype: "FP32", shape: [1, 2] }],
    raw_input_contents: [floats(value, -value)],
    ...more,
  };
}

function floats(...values: number[]): Buffer {
  return Buffer.from(Float32Array.from(values).buffer);
}

test("the server's methods", async (context) => {
  const { client, service } = await serveEcho(context);
  assert.deepEqual(await client.call("ServerLive"), { live: true });
  assert.deepEqual(await client.call("ServerReady"), { ready: true });
  const metadata = await client.call("ServerMetadata");
  assert.equal(metadata["name"], "lorasa");
  assert.ok(Array.isArray(metadata["extensions"]) && metadata["extensions"].includes("lora_adapters"));
  service.ready = false;
  // A field at its default is not sent.
  assert.deepEqual(await client.call("ServerReady"), {});
  assert.deepEqual(await client.call("ServerLive"), { live: true });
});

test("the methods of a model", async (context) => {
  const config = {
    name: "echo",
    max_batch_size: 8,
    input: [{ name: "x", data_type: "TYPE_FP32", dims: [2] }],
    version_policy: { latest: { num_versions: 1 } },
  };
  const { client, service } = await serveEcho(context, { config: () => config });
  assert.deepEqual(await client.call("ModelReady", { name: "echo", version: "1" }), { ready: true });
  assert.deepEqual(await client.call("ModelMetadata", { name: "echo" }), {
    name: "echo",
    versions: ["1"],
    platform: "test",
    inputs: [{ name: "x", datatype: "FP32", shape: ["-1", "2"] }],
    outputs: [{ name: "x", datatype: "FP32", shape: ["-1", "2"] }],
  });
  assert.deepEqual(await client.call("ModelConfig", { name: "echo" }), {
    config: { ...config, input: [{ name: "x", data_type: "TYPE_FP32", dims: ["2"] }] },
  });
  service.ready = false;
  assert.deepEqual(await client.call("ModelReady", { name: "echo" }), {});
});

test("a model's configuration: each field that this server writes is in the message", async (context) => {
  const config = {
    name: "echo",
    platform: "onnxruntime_onnx",
    version_policy: { latest: { num_versions: 1 } },
    max_batch_size: 64,
    input: [
      {
        name: "obs",
        data_type: "TYPE_FP32",
        format: "FORMAT_NHWC",
        dims: ["2", "4"],
        is_shape_tensor: true,
        optional: true,
      },
    ],
    output: [
      { name: "action", data_type: "TYPE_STRING", dims: ["2"], label_filename: "l", is_shape_tensor: true },
    ],
    instance_group: [{ name: "echo", count: 1, gpus: [0], kind: "KIND_CPU" }],
    default_model_filename: "policy.onnx",
    parameters: { mode: { string_value: "factored" } },
    model_warmup: [
      {
        name: "w",
        batch_size: 1,
        inputs: { obs: { data_type: "TYPE_FP32", dims: ["2"], zero_data: true } },
        count: 1,
      },
    ],
    backend: "onnxruntime",
  };
  const dynamic = {
    dynamic_batching: {
      preferred_batch_size: [4],
      max_queue_delay_microseconds: "100",
      preserve_ordering: true,
      priority_levels: "2",
      default_priority_level: "1",
      default_queue_policy: {
        timeout_action: "DELAY",
        default_timeout_microseconds: "5",
        allow_timeout_override: true,
        max_queue_size: 9,
      },
    },
  };
  const sequence = {
    sequence_batching: {
      max_sequence_idle_microseconds: "60000000",
      control_input: [{ name: "START", control: [{ kind: "CONTROL_SEQUENCE_END", data_type: "TYPE_BOOL" }] }],
      direct: { max_queue_delay_microseconds: "5" },
      state: [
        {
          input_name: "hidden_in",
          output_name: "hidden_out",
          data_type: "TYPE_FP32",
          dims: ["8"],
          initial_state: [{ data_type: "TYPE_FP32", dims: ["8"], zero_data: true, name: "zero" }],
        },
      ],
      iterative_sequence: true,
    },
  };
  for (const scheduling of [dynamic, sequence]) {
    const whole = { ...config, ...scheduling };
    const { client } = await serveEcho(context, { config: () => whole });
    assert.deepEqual((await client.call("ModelConfig", { name: "echo" }))["config"], whole);
  }
});

test("statistics: every leaf, beyond 2^32 too", async (context) => {
  const { client, service } = await serveEcho(context);
  const [entry] = service.statistics();
  const reply = await client.call("ModelStatistics", { name: "echo" });
  const [stats] = reply["model_stats"] as [Json];
  assert.equal(stats["last_inference"], "1790000000000");
  assert.equal(stats["inference_count"], "7");
  assert.equal(stats["execution_count"], "3");
  for (const [name, { count, ns }] of Object.entries(entry!.inference_stats)) {
    const { count: c = "0", ns: n = "0" } = (
      stats["inference_stats"] as Record<string, Record<string, string>>
    )[name]!;
    assert.deepEqual([c, n], [`${count}`, `${ns}`], name);
  }
  assert.deepEqual(stats["batch_stats"], [
    {
      batch_size: "4",
      compute_input: { count: "1", ns: `${2 ** 40}` },
      compute_infer: { count: "2", ns: `${2 * 2 ** 40}` },
      compute_output: { count: "3", ns: `${3 * 2 ** 40}` },
    },
  ]);
  assert.deepEqual(stats["memory_usage"], [{ type: "CPU", byte_size: "4096" }]);
  assert.deepEqual(await client.call("ModelStatistics"), reply);
  await assert.rejects(client.call("ModelStatistics", { name: "nobody" }), { code: "NOT_FOUND" });
});

test("the repository: index, load and unload", async (context) => {
  const { client, service } = await serveEcho(context);
  const names = async (fields: Json): Promise<unknown[]> => {
    const { models } = await client.call("RepositoryIndex", fields);
    return (models as Json[]).map(({ name, state, reason = "" }) => [name, state, reason]);
  };
  assert.deepEqual(await names({}), [
    ["echo", "READY", ""],
    ["other", "UNAVAILABLE", "unloaded"],
  ]);
  assert.deepEqual(await names({ ready: true }), [["echo", "READY", ""]]);
  assert.deepEqual(await client.call("RepositoryModelLoad", { model_name: "other" }), {});
  const parameters = { unload_dependents: { bool_param: false } };
  assert.deepEqual(await client.call("RepositoryModelUnload", { model_name: "other", parameters }), {});
  assert.deepEqual(service.changes, ["load other", "unload other"]);
});

test("the repository refuses what it would not do", async (context) => {
  const { client, service } = await serveEcho(context);
  const refused = (method: string, fields: Json, details: RegExp): Promise<void> =>
    assert.rejects(client.call(method, fields), { code: "INVALID_ARGUMENT", details });
  const parameters = { config: { string_param: "{}" } };
  await refused(
    "RepositoryModelLoad",
    { model_name: "other", parameters },
    /parameters: .*received "config"/,
  );
  await refused("RepositoryModelUnload", { model_name: "other", parameters }, /unload_dependents.*"config"/);
  for (const method of ["RepositoryIndex", "RepositoryModelLoad", "RepositoryModelUnload"]) {
    await refused(method, { repository_name: "r" }, /repository_name/);
  }
  assert.deepEqual(service.changes, []);
});

test("inference: outputs raw and in the order that was asked, id and parameters kept", async (context) => {
  const { client, service } = await serveEcho(context);
  const reply = await client.call("ModelInfer", {
    ...ask(7, {
      parameters: { adapter_id: { string_param: "agent_0.blue" }, sequence_start: { bool_param: true } },
    }),
    inputs: [
      { name: "x", datatype: "FP32", shape: [1, 2] },
      { name: "n", datatype: "INT8", shape: [3] },
    ],
    outputs: [{ name: "n" }, { name: "x" }],
    raw_input_contents: [floats(7, -7), Buffer.from([1, 2, 3])],
  });
  assert.deepEqual(reply, {
    model_name: "echo",
    model_version: "1",
    id: "7",
    parameters: { adapter_versions: { string_param: "agent_0=3" } },
    outputs: [
      { name: "n", datatype: "INT8", shape: ["3"] },
      { name: "x", datatype: "FP32", shape: ["1", "2"] },
    ],
    raw_output_contents: [Buffer.from([1, 2, 3]), floats(7, -7)],
  });
  assert.deepEqual(service.begun[0]?.parameters, { adapter_id: "agent_0.blue", sequence_start: true });
});

test("many calls at once, each with its own answer", async (context) => {
  const { client } = await serveEcho(context);
  const values = Array.from({ length: 200 }, (_, at) => at);
  const replies = await Promise.all(values.map((value) => client.call("ModelInfer", ask(value))));
  assert.deepEqual(
    replies.map((reply) => [reply["id"], reply["raw_output_contents"]]),
    values.map((value) => [`${value}`, [floats(value, -value)]]),
  );
});

test("errors: by their status, told to the server, and the next call is answered", async (context) => {
  const { client, service, failures } = await serveEcho(context);
  await assert.rejects(client.call("ModelInfer", ask(1, { model_name: "nobody" })), {
    code: "NOT_FOUND",
    details: /^LORASA_UNKNOWN_MODEL: model nobody/,
  });
  await assert.rejects(client.call("ModelInfer", ask(1, { raw_input_contents: [Buffer.alloc(7)] })), {
    code: "INVALID_ARGUMENT",
    details: /^LORASA_SHAPE: input x.*expected 8 bytes.*received 7/,
  });
  await assert.rejects(client.bytes("ModelInfer", Buffer.from("not a message")), {
    code: "INVALID_ARGUMENT",
    details: /request message: expected a protobuf message/,
  });
  await assert.rejects(client.bytes("ModelReady", Buffer.from([0x0a, 0x7f])), { code: "INVALID_ARGUMENT" });
  // As Triton answers: readiness of what is not there is no error.
  assert.equal((await client.call("ModelReady", { name: "nobody" }))["ready"] ?? false, false);
  for (const method of ["ModelReady", "ModelMetadata", "ModelConfig"]) {
    if (method !== "ModelReady") {
      await assert.rejects(client.call(method, { name: "nobody" }), { code: "NOT_FOUND" });
    }
    await assert.rejects(client.call(method, { name: "echo", version: "../1" }), {
      code: "INVALID_ARGUMENT",
    });
  }
  const fault = new TypeError("x is not a function at /srv/secret.ts");
  service.hold = () => Promise.reject(fault);
  await assert.rejects(client.call("ModelInfer", ask(1)), { code: "INTERNAL", details: "internal error" });
  assert.equal(failures.at(-1), fault);
  assert.equal(failures.length, 10);
  service.hold = () => Promise.resolve();
  assert.equal((await client.call("ModelInfer", ask(2)))["id"], "2");
});

test("what this server does not have is said so", async (context) => {
  const { client } = await serveEcho(context);
  for (const method of [
    "SystemSharedMemoryRegister",
    "CudaSharedMemoryStatus",
    "TraceSetting",
    "LogSettings",
  ]) {
    await assert.rejects(client.bytes(method, Buffer.alloc(0)), {
      code: "UNIMPLEMENTED",
      details: new RegExp(`^${method}: this server`),
    });
  }
  await assert.rejects(client.bytes("ModelGenerate", Buffer.alloc(0)), { code: "UNIMPLEMENTED" });
});

test("messages beyond the limit, either way, and names beyond any", async (context) => {
  const { client, service } = await serveEcho(context, { messageLimitBytes: 100_000 });
  const large = ask(1, { id: "", raw_input_contents: [Buffer.alloc(100_001)] });
  await assert.rejects(client.call("ModelInfer", large), { code: "RESOURCE_EXHAUSTED" });
  assert.equal(service.begun.length, 0);
  await assert.rejects(client.call("ModelReady", { name: "e".repeat(70_000) }), {
    code: "RESOURCE_EXHAUSTED",
    details: /at most 65536 bytes/,
  });
  const wide = {
    model_name: "echo",
    inputs: [{ name: "x", datatype: "UINT8", shape: [60_000] }],
    outputs: [{ name: "x" }],
    raw_input_contents: [Buffer.alloc(60_000)],
  };
  assert.deepEqual((await client.call("ModelInfer", wide))["raw_output_contents"], [Buffer.alloc(60_000)]);
  service.infer = async () => ({
    modelName: "echo",
    modelVersion: "1",
    parameters: {},
    outputs: [
      {
        tensor: { name: "x", datatype: "UINT8", shape: [200_000], data: new Uint8Array(200_000) },
        binary: true,
      },
    ],
  });
  await assert.rejects(client.call("ModelInfer", wide), { code: "RESOURCE_EXHAUSTED" });
});

/** Every method with the role that calls it. */
const ROLES: Readonly<Record<string, "open" | "infer" | "manage">> = {
  ServerLive: "open",
  ServerReady: "open",
  ServerMetadata: "infer",
  ModelReady: "infer",
  ModelMetadata: "infer",
  ModelConfig: "infer",
  ModelInfer: "infer",
  ModelStatistics: "infer",
  RepositoryIndex: "manage",
  RepositoryModelLoad: "manage",
  RepositoryModelUnload: "manage",
};

test("roles: each method asks for its own, before anything of the request is read", async (context) => {
  const asked: [role: string, header: string | undefined][] = [];
  const { connect, service } = await serveEcho(context, {
    authorize(role, header) {
      asked.push([role, header]);
      throw new LorasaError("LORASA_UNAUTHORIZED", { asked: role });
    },
  });
  const client = connect("secret");
  for (const [method, role] of Object.entries(ROLES)) {
    await assert.rejects(
      client.bytes(method, Buffer.from("no message")),
      { code: "UNAUTHENTICATED" },
      method,
    );
    assert.deepEqual(asked.splice(0), [[role, "Bearer secret"]], method);
  }
  const stream = client.stream();
  stream.write(encode("ModelInferRequest", ask(1)));
  const { messages, end } = await collect(stream);
  assert.deepEqual([messages, end.code], [[], "UNAUTHENTICATED"]);
  assert.deepEqual(asked, [["infer", "Bearer secret"]]);
  assert.deepEqual([service.begun, service.changes], [[], []]);
});

test("roles: health is open, but models' names are for those who may infer", async (context) => {
  const { client: stranger, connect } = await serveEcho(context, {
    authorize(role, header) {
      if (role !== "open" && header !== "Bearer secret") {
        throw new LorasaError("LORASA_UNAUTHORIZED", { asked: role });
      }
    },
  });
  const friend = connect("secret");
  assert.deepEqual(await stranger.call("Check"), { status: "SERVING" });
  for (const service of ["echo", "nobody"]) {
    await assert.rejects(stranger.call("Check", { service }), { code: "UNAUTHENTICATED" });
    assert.equal((await collect(stranger.watch(service))).end.code, "UNAUTHENTICATED");
  }
  assert.deepEqual(await friend.call("Check", { service: "echo" }), { status: "SERVING" });
});

test("health: the server, its service and its models, and what it does not know", async (context) => {
  const { client, service } = await serveEcho(context);
  for (const name of ["", "inference.GRPCInferenceService", "echo"]) {
    assert.deepEqual(await client.call("Check", { service: name }), { status: "SERVING" });
  }
  await assert.rejects(client.call("Check", { service: "nobody" }), { code: "NOT_FOUND" });
  service.ready = false;
  for (const name of ["", "echo"]) {
    assert.deepEqual(await client.call("Check", { service: name }), { status: "NOT_SERVING" });
  }
});

test("health, watched: the status now, each change, and the end of the server", async (context) => {
  const { client, service, close } = await serveEcho(context);
  const server = client.watch("");
  const unknown = client.watch("nobody");
  const whole = collect(server);
  const none = collect(unknown);
  await once(server, "data");
  service.ready = false;
  await once(server, "data");
  service.ready = true;
  await once(server, "data");
  await close();
  assert.deepEqual(await whole, {
    messages: ["SERVING", "NOT_SERVING", "SERVING", "NOT_SERVING"],
    end: { code: "OK", details: "OK" },
  });
  assert.deepEqual((await none).messages, ["SERVICE_UNKNOWN"]);
});

test("a stream answers in the order of its requests, though later ones are done first", async (context) => {
  const { client, service } = await serveEcho(context);
  const done: string[] = [];
  const { opened, open } = gate();
  service.hold = async ({ id }) => {
    if (id === "0") await opened;
    done.push(id);
    if (done.length === 9) open();
  };
  const stream = client.stream();
  for (let at = 0; at < 10; at++) stream.write(encode("ModelInferRequest", ask(at)));
  stream.end();
  const { messages, end } = await collect(stream);
  assert.equal(done.at(-1), "0");
  assert.deepEqual(messages.map(idOf), ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]);
  assert.equal(end.code, "OK");
});

test("a stream goes on after an error, which carries the id of what failed", async (context) => {
  const { client, failures } = await serveEcho(context);
  const stream = client.stream();
  stream.write(encode("ModelInferRequest", ask(0)));
  stream.write(encode("ModelInferRequest", ask(1, { raw_input_contents: [Buffer.alloc(7)] })));
  stream.write(Buffer.from("not a message"));
  stream.write(encode("ModelInferRequest", ask(3, { model_name: "nobody" })));
  stream.write(encode("ModelInferRequest", ask(4)));
  stream.end();
  const { messages, end } = await collect(stream);
  assert.deepEqual(messages.map(idOf), ["0", "1", "", "3", "4"]);
  assert.deepEqual(
    messages.map((message) => /^LORASA_\w+/.exec(String(message["error_message"] ?? ""))?.[0]),
    [undefined, "LORASA_SHAPE", "LORASA_REQUEST", "LORASA_UNKNOWN_MODEL", undefined],
  );
  assert.deepEqual(
    messages.map((message) => (message["infer_response"] as Json)["raw_output_contents"]),
    [[floats(0, -0)], undefined, undefined, undefined, [floats(4, -4)]],
  );
  assert.equal(end.code, "OK");
  assert.equal(failures.length, 3);
});

test("a stream begins only so many requests at once, and all of them in the end", async (context) => {
  const { client, service } = await serveEcho(context);
  const { opened, open } = gate();
  service.hold = () => opened;
  const stream = client.stream();
  const all = collect(stream);
  for (let at = 0; at < 300; at++) stream.write(encode("ModelInferRequest", ask(at)));
  stream.end();
  await client.until(() => service.begun.length === 64);
  await client.settle();
  assert.equal(service.begun.length, 64);
  open();
  const { messages } = await all;
  assert.deepEqual(
    messages.map(idOf),
    Array.from({ length: 300 }, (_, at) => `${at}`),
  );
});

test("a stream's request beyond the limit ends the stream", async (context) => {
  const { client } = await serveEcho(context, { messageLimitBytes: 1000 });
  const stream = client.stream();
  stream.write(encode("ModelInferRequest", ask(0, { raw_input_contents: [Buffer.alloc(2000)] })));
  assert.equal((await collect(stream)).end.code, "RESOURCE_EXHAUSTED");
});

test("a call that its client gives up is cancelled before it is run", async (context) => {
  const { client, service, failures } = await serveEcho(context);
  const { opened, open } = gate();
  let cancel = (): void => undefined;
  service.hold = () => {
    cancel();
    return opened;
  };
  const given = client.call("ModelInfer", ask(1), (stop) => {
    cancel = stop;
  });
  await assert.rejects(given, { code: "CANCELLED" });
  // The client's word has come when later calls of the same connection are answered.
  await client.settle();
  open();
  await client.until(() => failures.length > 0);
  assert.equal(failures.length, 1);
  assert.ok(failures[0] instanceof LorasaError && failures[0].code === "LORASA_CANCELLED");
});

test("a stream that its client gives up cancels what it has begun", async (context) => {
  const { client, service, failures, close } = await serveEcho(context);
  const { opened, open } = gate();
  service.hold = () => opened;
  const stream = client.stream();
  const end = collect(stream);
  for (let at = 0; at < 3; at++) stream.write(encode("ModelInferRequest", ask(at)));
  await client.until(() => service.begun.length === 3);
  stream.cancel();
  assert.equal((await end).end.code, "CANCELLED");
  await client.settle();
  open();
  await client.until(() => failures.length === 3);
  assert.deepEqual(
    failures.map((error) => error instanceof LorasaError && error.code),
    ["LORASA_CANCELLED", "LORASA_CANCELLED", "LORASA_CANCELLED"],
  );
  // Nothing of the stream is left to wait for.
  await close();
});

test("closing: not ready, calls that have begun are answered, streams end, later calls are refused", async (context) => {
  const { client, service, close, connect } = await serveEcho(context);
  const { opened, open } = gate();
  service.hold = () => opened;
  const idle = client.stream();
  const stream = client.stream();
  const [idleEnd, streamEnd] = [collect(idle), collect(stream)];
  idle.write(encode("ModelInferRequest", ask(0, { model_name: "nobody" })));
  await once(idle, "data");
  stream.write(encode("ModelInferRequest", ask(1)));
  const call = client.call("ModelInfer", ask(2));
  await client.until(() => service.begun.length === 2);
  const closed = close();
  assert.equal(close(), closed);
  await assert.rejects(connect().call("ServerReady"), { code: "UNAVAILABLE" });
  open();
  assert.equal((await call)["id"], "2");
  const { messages, end } = await streamEnd;
  assert.deepEqual(messages.map(idOf), ["1"]);
  assert.deepEqual([end.code, (await idleEnd).end.code], ["UNAVAILABLE", "UNAVAILABLE"]);
  assert.match(end.details, /stopping; begin another stream/);
  await closed;
});

test("closing: what is not answered in time is cut off", async (context) => {
  const { client, service, close } = await serveEcho(context, { drainTimeoutMs: 50 });
  service.hold = () => new Promise(() => undefined);
  const call = client.call("ModelInfer", ask(1));
  await client.until(() => service.begun.length === 1);
  const [answer] = await Promise.allSettled([call, close()]);
  assert.equal(answer.status, "rejected");
});

test("closing: connections that never spoke are cut off, encrypted or not", async (context) => {
  const { cert, key } = selfSigned();
  for (const tls of [undefined, { cert: Buffer.from(cert), key: Buffer.from(key) }]) {
    const { client, port, close } = await serveEcho(context, { drainTimeoutMs: 50, ...(tls && { tls }) });
    const socket = connect(port, "127.0.0.1");
    context.after(() => socket.destroy());
    socket.on("error", () => undefined);
    // What is not read keeps it from closing.
    socket.resume();
    await once(socket, "connect");
    // The server has accepted it by the time when a later connection is answered or refused.
    await client.call("ServerLive").catch(() => undefined);
    const closed = once(socket, "close");
    await close();
    await closed;
  }
});

test("encrypted, with a certificate of its own", async (context) => {
  const { cert, key } = selfSigned();
  const { connect } = await serveEcho(context, { tls: { cert: Buffer.from(cert), key: Buffer.from(key) } });
  const trusting = connect(undefined, credentials.createSsl(Buffer.from(cert)));
  const doubting = connect(undefined, credentials.createSsl());
  assert.equal((await trusting.call("ModelInfer", ask(3)))["id"], "3");
  await assert.rejects(doubting.call("ServerLive"), { code: "UNAVAILABLE" });
});

test("a port that is taken", async (context) => {
  const { port } = await serveEcho(context);
  const options = {
    service: new EchoService(),
    host: "127.0.0.1",
    port,
    messageLimitBytes: 1000,
    maxConnections: 64,
    authorize: () => undefined,
    metadata: () => ({}),
    config: () => ({}),
    failed: () => undefined,
    drainTimeoutMs: 100,
  };
  await assert.rejects(startGrpc(options), {
    code: "LORASA_PORT",
    message: /listening for gRPC on 127\.0\.0\.1:\d+: .*one that is in use; choose another with --grpc-port/,
  });
});

function idOf(message: Json): unknown {
  return (message["infer_response"] as Json | undefined)?.["id"] ?? "";
}
