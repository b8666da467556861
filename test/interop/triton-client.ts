/** One of Triton's Python clients, as an object: a Python process that does what each line tells it to. */
import assert from "node:assert/strict";
import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process";
import { join } from "node:path";
import { createInterface, type Interface } from "node:readline";
import { type PythonPackage, pythonWith } from "./python-environment.ts";

export type Flavour = "http" | "http-aio" | "grpc" | "grpc-aio";

/** Pinned, so that a new release of theirs is a change of ours and not a surprise. */
const PACKAGES: readonly PythonPackage[] = [
  { pip: "tritonclient[http,grpc]==2.73.0", modules: ["tritonclient.http.aio", "tritonclient.grpc.aio"] },
  { pip: "grpcio-health-checking", modules: ["grpc_health.v1.health_pb2_grpc"] },
];

/** The interpreter that has the clients, or why there is none. */
export function tritonPython(): { python: string } | { missing: string } {
  return pythonWith(PACKAGES);
}

/** An input as the driver takes it: binary over HTTP unless `binary_data` is false. */
export interface DriverInput {
  readonly datatype: string;
  readonly shape: readonly number[];
  readonly data?: readonly (number | string | boolean)[];
  readonly binary_data?: boolean;
  /** Name and bytes of a shared-memory region, in place of data. */
  readonly region?: readonly [name: string, bytes: number];
}

/** Arguments of the client's `infer`, in its own words. */
export interface InferArguments {
  readonly model_name: string;
  readonly inputs: Readonly<Record<string, DriverInput>>;
  readonly outputs?: readonly { readonly name: string; readonly binary_data?: boolean }[];
  readonly [option: string]: unknown;
}

export interface Inferred {
  readonly response: {
    readonly id?: string;
    readonly model_name: string;
    readonly model_version?: string;
    /** Over gRPC each value is in an object that names its type. */
    readonly parameters?: Readonly<Record<string, unknown>>;
  };
  readonly outputs: Readonly<
    Record<
      string,
      { readonly dtype: string; readonly shape: readonly number[]; readonly data: readonly number[] }
    >
  >;
}

/** What the Python client raised. */
export class TritonFailure extends Error {
  /** `InferenceServerException`, or what else escaped from the client. */
  readonly type: string;
  /** An HTTP status, or such as `StatusCode.NOT_FOUND`. */
  readonly status: string | null;

  constructor({ type, message, status }: RaisedError) {
    super(message);
    this.type = type;
    this.status = status;
  }
}

interface RaisedError {
  readonly type: string;
  readonly message: string;
  readonly status: string | null;
}

type Reply = { readonly result: unknown } | { readonly error: RaisedError };

/** One of the answers to requests that were sent together. */
export type Answered = { readonly result: Inferred } | { readonly error: RaisedError };

const CLOSE_MS = 5000;

/** Owns the Python process until `close`. */
export class TritonClient {
  readonly flavour: Flavour;
  readonly #process: ChildProcessWithoutNullStreams;
  readonly #lines: Interface;
  readonly #waiting: ((line: string | undefined) => void)[] = [];
  #stderr = "";

  private constructor(python: string, flavour: Flavour, address: string) {
    this.flavour = flavour;
    const script = join(import.meta.dirname, "triton_drive.py");
    this.#process = spawn(python, [script, flavour, address]);
    this.#process.stderr.on("data", (chunk: Buffer) => {
      this.#stderr += chunk.toString("utf8");
    });
    this.#lines = createInterface(this.#process.stdout);
    this.#lines.on("line", (line) => this.#waiting.shift()?.(line));
    this.#lines.on("close", () => {
      for (const give of this.#waiting.splice(0)) give(undefined);
    });
  }

  /** @param address host, port and base path, without a scheme. */
  static async start(python: string, flavour: Flavour, address: string): Promise<TritonClient> {
    const client = new TritonClient(python, flavour, address);
    await client.#answer();
    return client;
  }

  get transport(): "http" | "grpc" {
    return this.flavour.startsWith("grpc") ? "grpc" : "http";
  }

  /**
   * Calls a method of the Python client, or one of the driver's own.
   * @throws TritonFailure for what the client raised.
   */
  async call(name: string, args: Readonly<Record<string, unknown>> = {}): Promise<unknown> {
    this.#process.stdin.write(`${JSON.stringify({ call: name, args })}\n`);
    return this.#answer();
  }

  async infer(args: InferArguments): Promise<Inferred> {
    // The driver writes it so.
    return (await this.call("infer", args)) as Inferred;
  }

  /** Sent together; the answers in the order of the requests. */
  async together(requests: readonly InferArguments[]): Promise<readonly Answered[]> {
    return (await this.call("async_infer", { requests })) as Answered[];
  }

  /** A call whose answer is an object, with numbers where gRPC's JSON has text of 64-bit integers. */
  async object(name: string, args: Readonly<Record<string, unknown>> = {}): Promise<JsonObject> {
    const reply = await this.call(name, args);
    return (this.transport === "grpc" ? readable(reply) : reply) as JsonObject;
  }

  /** Ends the process; one that hangs is ended by force. */
  close(): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(() => this.#process.kill("SIGKILL"), CLOSE_MS);
      this.#process.once("close", () => {
        clearTimeout(timer);
        resolve();
      });
      this.#process.stdin.end();
    });
  }

  async #answer(): Promise<unknown> {
    const line = await new Promise<string | undefined>((resolve) => {
      this.#waiting.push(resolve);
    });
    if (line === undefined) throw new Error(`the Python client ended: ${this.#stderr}`);
    const reply = JSON.parse(line) as Reply;
    if ("error" in reply) throw new TritonFailure(reply.error);
    return reply.result;
  }
}

export type Json = string | number | boolean | null | readonly Json[] | JsonObject;

export interface JsonObject {
  readonly [key: string]: Json;
}

/** Asserts that a call fails with the client's own exception, and gives it. */
export async function failure(call: Promise<unknown>, message: RegExp, what = ""): Promise<TritonFailure> {
  try {
    await call;
  } catch (error) {
    assert.ok(error instanceof TritonFailure, `${what} ${error}`);
    assert.equal(error.type, "InferenceServerException", `${what} ${error.message}`);
    assert.match(error.message, message, what);
    return error;
  }
  throw new assert.AssertionError({ message: `${what || "the call"} did not fail` });
}

function readable(value: unknown): Json {
  if (Array.isArray(value)) return value.map(readable);
  if (typeof value === "object" && value !== null) {
    return Object.fromEntries(Object.entries(value).map(([key, entry]) => [key, readable(entry)]));
  }
  if (typeof value === "string" && /^-?\d{1,15}$/.test(value)) return Number(value);
  return value as Json;
}
