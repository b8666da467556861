/** A plain gRPC client for tests, and a service of one echoing model to ask. */
import assert from "node:assert/strict";
import type { TestContext } from "node:test";
import {
  type ChannelCredentials,
  Client,
  type ClientDuplexStream,
  type ClientReadableStream,
  credentials,
  Metadata,
  type ServiceError,
  status,
} from "@grpc/grpc-js";
import type { InferCall, InferResult, PolicyService, ServedModel } from "../../server/engine/service.ts";
import { messageType } from "../../server/grpc/definitions.ts";
import type { GrpcOptions } from "../../server/grpc/door.ts";
import { startGrpc } from "../../server/grpc/server.ts";
import type { InferRequest } from "../../server/protocol/request.ts";
import { LorasaError } from "../../src/base/errors.ts";

export type Json = Record<string, unknown>;

/** How a call ended. */
export interface Failure {
  readonly code: string;
  readonly details: string;
}

/** Encodes a message of package `inference`. */
export function encode(name: string, fields: Json): Buffer {
  const type = messageType(name.includes(".") ? name : `inference.${name}`);
  return type.encode(type.fromObject(fields)).finish() as Buffer;
}

/** Decodes a message of package `inference`: 64-bit integers as texts, enums by name. */
export function decode(name: string, bytes: Uint8Array): Json {
  const type = messageType(name.includes(".") ? name : `inference.${name}`);
  return type.toObject(type.decode(bytes), { longs: String, enums: String }) as Json;
}

export class GrpcClient {
  readonly #client: Client;
  readonly #metadata: Metadata;

  constructor(port: number, token?: string, channel = credentials.createInsecure()) {
    this.#client = new Client(`127.0.0.1:${port}`, channel, { "grpc.max_receive_message_length": -1 });
    this.#metadata = new Metadata();
    if (token !== undefined) this.#metadata.set("authorization", `Bearer ${token}`);
  }

  /** Calls a method of one message each way; rejects with a {@link Failure}. */
  async call(method: string, fields: Json = {}, watch?: (cancel: () => void) => void): Promise<Json> {
    const health = method === "Check";
    const request = health ? "grpc.health.v1.HealthCheckRequest" : `${method}Request`;
    const response = health ? "grpc.health.v1.HealthCheckResponse" : `${method}Response`;
    return decode(response, await this.bytes(method, encode(request, fields), watch));
  }

  bytes(method: string, request: Buffer, watch?: (cancel: () => void) => void): Promise<Buffer> {
    return new Promise((resolve, reject) => {
      const call = this.#client.makeUnaryRequest<Buffer, Buffer>(
        path(method),
        (bytes) => bytes,
        (bytes) => bytes,
        request,
        this.#metadata,
        (error, bytes) => (error ? reject(toFailure(error)) : resolve(bytes ?? Buffer.alloc(0))),
      );
      watch?.(() => call.cancel());
    });
  }

  stream(): ClientDuplexStream<Buffer, Json> {
    return this.#client.makeBidiStreamRequest<Buffer, Json>(
      path("ModelStreamInfer"),
      (bytes) => bytes,
      (bytes) => decode("ModelStreamInferResponse", bytes),
      this.#metadata,
    );
  }

  watch(service: string): ClientReadableStream<string> {
    return this.#client.makeServerStreamRequest<Json, string>(
      path("Watch"),
      (fields) => encode("grpc.health.v1.HealthCheckRequest", fields),
      (bytes) => String(decode("grpc.health.v1.HealthCheckResponse", bytes)["status"]),
      { service },
      this.#metadata,
    );
  }

  /** Asks until `done`, so that what was sent before on this connection has been seen. */
  async until(done: () => boolean): Promise<void> {
    for (let round = 0; round < 10_000 && !done(); round++) await this.call("ServerLive");
    assert.ok(done(), "it did not come");
  }

  /** Some round trips of the connection. */
  async settle(): Promise<void> {
    for (let round = 0; round < 10; round++) await this.call("ServerLive");
  }

  close(): void {
    this.#client.close();
  }
}

/** Everything that a stream gives, then how it ended. */
export function collect<T>(stream: ClientReadableStream<T> | ClientDuplexStream<Buffer, T>): Promise<{
  readonly messages: T[];
  readonly end: Failure;
}> {
  return new Promise((resolve) => {
    const messages: T[] = [];
    stream.on("data", (message: T) => messages.push(message));
    // Its status says the same; without a listener it would be thrown.
    stream.on("error", () => undefined);
    stream.on("status", (end) => resolve({ messages, end: toFailure(end) }));
  });
}

/** Something to wait for, and what ends the waiting. */
export function gate(): { readonly opened: Promise<void>; readonly open: () => void } {
  let open = (): void => undefined;
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { opened, open };
}

function path(method: string): string {
  const service = ["Check", "Watch"].includes(method)
    ? "grpc.health.v1.Health"
    : "inference.GRPCInferenceService";
  return `/${service}/${method}`;
}

function toFailure({ code, details }: Pick<ServiceError, "code" | "details">): Failure {
  return { code: status[code], details };
}

const ECHO: ServedModel = {
  name: "echo",
  inputs: [{ name: "x", datatype: "FP32", shape: [-1, 2] }],
  outputs: [{ name: "x", datatype: "FP32", shape: [-1, 2] }],
};

/** Answers every input as the output of its name. */
export class EchoService implements PolicyService {
  ready = true;
  /** Requests in the order in which they were begun. */
  readonly begun: InferRequest[] = [];
  /** What the next steps of a request wait for; it runs or fails after. */
  hold: (request: InferRequest) => Promise<void> = () => Promise.resolve();
  /** Names loaded and unloaded. */
  readonly changes: string[] = [];

  isReady(): boolean {
    return this.ready;
  }

  endpoint(name: string, version?: string): ServedModel {
    if (name === ECHO.name && (version === undefined || version === "1")) return ECHO;
    throw new LorasaError("LORASA_UNKNOWN_MODEL", { asked: `model ${name}`, expected: "echo" });
  }

  async infer(endpoint: ServedModel, request: InferRequest, call: InferCall): Promise<InferResult> {
    this.begun.push(request);
    await this.hold(request);
    if (call.cancelled()) throw new LorasaError("LORASA_CANCELLED", { asked: "inference" });
    const asked = request.outputs?.map(({ name }) => name) ?? [...request.inputs.keys()];
    const outputs = asked.map((name) => ({ tensor: request.inputs.get(name)!, binary: true }));
    return {
      modelName: endpoint.name,
      modelVersion: "1",
      parameters: { adapter_versions: "agent_0=3" },
      outputs,
    };
  }

  statistics(name?: string): ReturnType<PolicyService["statistics"]> {
    if (name !== undefined) this.endpoint(name);
    const duration = (count: number) => ({ count, ns: count * 2 ** 40 });
    return [
      {
        name: ECHO.name,
        version: "1",
        last_inference: 1_790_000_000_000,
        inference_count: 7,
        execution_count: 3,
        inference_stats: {
          success: duration(7),
          fail: duration(1),
          queue: duration(2),
          compute_input: duration(3),
          compute_infer: duration(4),
          compute_output: duration(5),
          cache_hit: duration(0),
          cache_miss: duration(6),
        },
        response_stats: {},
        batch_stats: [
          {
            batch_size: 4,
            compute_input: duration(1),
            compute_infer: duration(2),
            compute_output: duration(3),
          },
        ],
        memory_usage: [{ type: "CPU", id: 0, byte_size: 4096 }],
      },
    ];
  }

  index(): ReturnType<PolicyService["index"]> {
    return [
      { name: "echo", version: "1", state: "READY", reason: "" },
      { name: "other", version: "1", state: "UNAVAILABLE", reason: "unloaded" },
    ];
  }

  async load(name: string): Promise<void> {
    this.changes.push(`load ${name}`);
  }

  async unload(name: string): Promise<void> {
    this.changes.push(`unload ${name}`);
  }

  adapters(): never {
    throw new LorasaError("LORASA_ADAPTER", { asked: "adapters of echo" });
  }
}

export interface ServedEcho {
  readonly service: EchoService;
  /** Without a token. */
  readonly client: GrpcClient;
  readonly port: number;
  /** Another client, closed when the test ends. */
  connect(token?: string, channel?: ChannelCredentials): GrpcClient;
  /** Errors of calls that failed. */
  readonly failures: unknown[];
  close(): Promise<void>;
}

/** Serves the echoing model on a free port until the test ends. */
export async function serveEcho(
  context: TestContext,
  options: Partial<GrpcOptions> = {},
): Promise<ServedEcho> {
  const service = new EchoService();
  const failures: unknown[] = [];
  const door = await startGrpc({
    service,
    host: "127.0.0.1",
    port: 0,
    messageLimitBytes: 2 ** 20,
    maxConnections: 64,
    authorize: () => undefined,
    metadata: ({ name, inputs, outputs }) => ({ name, versions: ["1"], platform: "test", inputs, outputs }),
    config: ({ name }) => ({ name }),
    failed: (error) => failures.push(error),
    drainTimeoutMs: 5000,
    ...options,
  });
  const clients: GrpcClient[] = [];
  const connect: ServedEcho["connect"] = (token, channel) => {
    const client = new GrpcClient(door.port, token, channel);
    clients.push(client);
    return client;
  };
  context.after(async () => {
    for (const client of clients) client.close();
    await door.close();
  });
  return { service, client: connect(), port: door.port, connect, failures, close: door.close };
}
