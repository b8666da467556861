/**
 * A client of a running server: binary inference over kept-alive connections, adapters, health. What
 * `lorasa simulate` and `lorasa adapter` speak through; any Open Inference Protocol client can do the same.
 */
import { Agent, type IncomingHttpHeaders, type RequestOptions, request } from "node:http";
import { join } from "node:path";
import { LorasaError } from "../src/base/errors.ts";
import { readFile } from "../src/base/files.ts";
import { DTYPES, type DType, elementCount, type HostTensor } from "../src/base/tensor.ts";
import { CONFIG_FILE, TENSORS_FILE } from "../src/checkpoint/peft.ts";
import { readBinaryData } from "./protocol/binary-data.ts";
import type { Datatype, WireTensor } from "./protocol/datatypes.ts";
import { HEADER_LENGTH } from "./protocol/request.ts";

export interface ClientOptions {
  /** For adapter commands. */
  readonly token?: string;
  /** For a whole request. Default 30,000. */
  readonly timeoutMs?: number;
}

export interface InferAnswer {
  readonly outputs: Readonly<Record<string, HostTensor>>;
  /** Adapter version by agent; empty for models whose adapters are in their graphs. */
  readonly adapterVersions: Readonly<Record<string, number>>;
  readonly modelVersion: string;
}

/** An adapter slot of a model, in the repository extension's words. */
export interface AdapterStatus {
  readonly name: string;
  readonly version: string;
  readonly state: string;
  readonly sha256?: string;
}

interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
}

const DATATYPE_OF: Readonly<Partial<Record<DType, Exclude<Datatype, "BYTES">>>> = {
  float32: "FP32",
  float64: "FP64",
  int32: "INT32",
  int64: "INT64",
  bool: "BOOL",
};

const DTYPE_OF: Readonly<Partial<Record<Datatype, DType>>> = {
  FP32: "float32",
  INT64: "int64",
  INT32: "int32",
};

const FRAME_LIMIT = 64;

/** Owns its connections until `close`. */
export class ServerClient {
  readonly url: string;
  readonly #agent = new Agent({ keepAlive: true });
  readonly #connection: RequestOptions;
  readonly #options: ClientOptions;
  readonly #frames = new Map<string, RequestFrame>();

  /** @throws LORASA_FLAG for what is not an `http://` address. */
  constructor(url: string, options: ClientOptions = {}) {
    const { hostname, port, pathname } = parseUrl(url);
    this.url = url.replace(/\/$/, "");
    this.#options = options;
    this.#connection = {
      agent: this.#agent,
      host: hostname.replace(/^\[|\]$/g, ""),
      port: port || 80,
      path: pathname.replace(/\/$/, ""),
    };
  }

  /**
   * Sends tensors by name to a model such as `team` or `team.agent_0`; all its outputs come back. Memory of the
   * tensors is free again when the promise settles.
   * @throws LORASA_SERVER, as every method here.
   */
  async infer(model: string, inputs: Readonly<Record<string, HostTensor>>): Promise<InferAnswer> {
    const frame = this.#frame(inputs);
    const body = frame.fill(inputs);
    const headers = {
      "Content-Type": "application/octet-stream",
      "Content-Length": body.length,
      [HEADER_LENGTH]: frame.jsonLength,
    };
    const answer = await this.#send("POST", `/v2/models/${encodeURIComponent(model)}/infer`, headers, body);
    frame.release(body);
    return parseAnswer(answer);
  }

  /** Whether the server answers and is ready; false also when it cannot be reached. */
  async isReady(): Promise<boolean> {
    try {
      return (await this.#exchange("GET", "/v2/health/ready", {}, undefined)).status === 200;
    } catch {
      return false;
    }
  }

  /** The model's metadata: inputs and outputs with their shapes. */
  modelMetadata(model: string): Promise<unknown> {
    return this.#json("GET", `/v2/models/${encodeURIComponent(model)}`);
  }

  /** The adapters of a model, one an agent. */
  async listAdapters(model: string): Promise<readonly AdapterStatus[]> {
    // The server of this same package writes it so.
    return (await this.#json("POST", `${adaptersPath(model)}/index`)) as AdapterStatus[];
  }

  /** Loads or replaces an agent's adapter from the text and bytes of PEFT's two files. */
  async pushAdapter(
    model: string,
    agent: string,
    config: string,
    tensors: Uint8Array,
  ): Promise<AdapterStatus> {
    const json = Buffer.from(JSON.stringify({ parameters: { config, load_inplace: true } }));
    const path = `${adaptersPath(model)}/${encodeURIComponent(agent)}/load`;
    const body = Buffer.concat([json, tensors]);
    return (await this.#json("POST", path, body, { [HEADER_LENGTH]: json.length })) as AdapterStatus;
  }

  /**
   * Pushes an adapter's folder.
   * @throws LORASA_FILE when it cannot be read.
   */
  async pushAdapterFolder(model: string, agent: string, folder: string): Promise<AdapterStatus> {
    const config = readFile(join(folder, CONFIG_FILE), "adapter configuration").toString("utf8");
    return this.pushAdapter(model, agent, config, readFile(join(folder, TENSORS_FILE), "adapter tensors"));
  }

  /** Unloads an agent's adapter: its requests fail until another is pushed. */
  async unloadAdapter(model: string, agent: string): Promise<AdapterStatus> {
    const path = `${adaptersPath(model)}/${encodeURIComponent(agent)}/unload`;
    return (await this.#json("POST", path)) as AdapterStatus;
  }

  close(): void {
    this.#agent.destroy();
  }

  #frame(inputs: Readonly<Record<string, HostTensor>>): RequestFrame {
    let key = "";
    for (const name in inputs) key += `${name} ${inputs[name]!.dtype} ${inputs[name]!.dims.join("x")};`;
    let frame = this.#frames.get(key);
    if (frame === undefined) {
      frame = new RequestFrame(inputs);
      // Batch sizes that never settle must not fill the memory: start over, frames are cheap to make.
      if (this.#frames.size >= FRAME_LIMIT) this.#frames.clear();
      this.#frames.set(key, frame);
    }
    return frame;
  }

  async #json(
    method: string,
    path: string,
    body: Buffer = Buffer.alloc(0),
    headers: Readonly<Record<string, string | number>> = {},
  ): Promise<unknown> {
    const { token } = this.#options;
    const all = {
      ...headers,
      ...(token !== undefined && { Authorization: `Bearer ${token}` }),
      ...(method === "POST" && { "Content-Length": body.length }),
    };
    return JSON.parse((await this.#send(method, path, all, body)).body.toString("utf8"));
  }

  async #send(
    method: string,
    path: string,
    headers: Readonly<Record<string, string | number>>,
    body: Buffer | undefined,
  ): Promise<Answer> {
    const answer = await this.#exchange(method, path, headers, body);
    if (answer.status === 200) return answer;
    throw serverError(`${method} ${this.url}${path}`, `${answer.status}, ${errorText(answer.body)}`);
  }

  #exchange(
    method: string,
    path: string,
    headers: Readonly<Record<string, string | number>>,
    body: Buffer | undefined,
    retried = false,
  ): Promise<Answer> {
    const options = { ...this.#connection, method, headers, path: `${this.#connection.path}${path}` };
    return new Promise((resolve, reject) => {
      const sent = request(options, (response) => {
        const chunks: Buffer[] = [];
        response.on("data", (chunk: Buffer) => chunks.push(chunk));
        response.on("error", (cause) => reject(this.#unreachable(method, path, cause)));
        response.on("end", () => {
          const whole = chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks);
          resolve({ status: response.statusCode ?? 0, headers: response.headers, body: whole });
        });
      });
      sent.on("error", (cause: NodeJS.ErrnoException) => {
        // The server closed a kept-alive connection just as it was taken up again: the request never began.
        const stale = sent.reusedSocket && cause.code === "ECONNRESET" && !retried;
        if (stale) resolve(this.#exchange(method, path, headers, body, true));
        else reject(this.#unreachable(method, path, cause));
      });
      const timeoutMs = this.#options.timeoutMs ?? 30_000;
      sent.setTimeout(timeoutMs, () => sent.destroy(new Error(`no answer within ${timeoutMs} ms`)));
      sent.end(body);
    });
  }

  #unreachable(method: string, path: string, cause: NodeJS.ErrnoException): LorasaError {
    const refused = cause.code === "ECONNREFUSED";
    const received = refused ? "nothing listening there" : cause.message || (cause.code ?? "a failure");
    return serverError(`${method} ${this.url}${path}`, received, "start one with `lorasa serve`");
  }
}

/** The bytes of requests with the same tensors: JSON padded so that the values behind it are aligned. */
class RequestFrame {
  readonly jsonLength: number;
  readonly #json: Buffer;
  readonly #bytes: number;
  /** Buffers of settled requests, to be filled again. */
  readonly #free: Buffer[] = [];

  constructor(inputs: Readonly<Record<string, HostTensor>>) {
    const described = Object.entries(inputs).map(([name, tensor]) => ({
      name,
      datatype: datatypeOf(name, tensor.dtype),
      shape: tensor.dims,
      parameters: { binary_data_size: byteSize(tensor) },
    }));
    const text = JSON.stringify({ parameters: { binary_data_output: true }, inputs: described });
    this.jsonLength = Math.ceil(Buffer.byteLength(text) / 8) * 8;
    this.#json = Buffer.alloc(this.jsonLength, " ");
    this.#json.write(text);
    this.#bytes = this.jsonLength + Object.values(inputs).reduce((sum, tensor) => sum + byteSize(tensor), 0);
  }

  fill(inputs: Readonly<Record<string, HostTensor>>): Buffer {
    const body = this.#free.pop() ?? this.#allocate();
    let at = this.jsonLength;
    for (const name in inputs) {
      const { buffer, byteOffset, byteLength } = inputs[name]!.data;
      body.set(new Uint8Array(buffer, byteOffset, byteLength), at);
      at += byteLength;
    }
    return body;
  }

  release(body: Buffer): void {
    this.#free.push(body);
  }

  #allocate(): Buffer {
    const body = Buffer.alloc(this.#bytes);
    this.#json.copy(body);
    return body;
  }
}

function byteSize({ dtype, dims }: HostTensor): number {
  return elementCount(dims) * DTYPES[dtype].bytes;
}

function datatypeOf(name: string, dtype: DType): Datatype {
  const datatype = DATATYPE_OF[dtype];
  if (datatype) return datatype;
  throw new LorasaError("LORASA_DTYPE", {
    asked: `input ${name}`,
    expected: Object.keys(DATATYPE_OF).join(", "),
    received: dtype,
  });
}

interface AnswerJson {
  readonly model_version: string;
  readonly parameters?: { readonly adapter_versions?: string };
  readonly outputs: readonly {
    readonly name: string;
    readonly datatype: Datatype;
    readonly shape: readonly number[];
    readonly parameters: { readonly binary_data_size: number };
  }[];
}

function parseAnswer({ headers, body }: Answer): InferAnswer {
  const jsonLength = Number(headers[HEADER_LENGTH] ?? body.length);
  // All outputs were asked for as binary, and the reply is the server's of this same package.
  const json = JSON.parse(body.toString("utf8", 0, jsonLength)) as AnswerJson;
  const outputs: Record<string, HostTensor> = {};
  let at = jsonLength;
  for (const { name, datatype, shape, parameters } of json.outputs) {
    const end = at + parameters.binary_data_size;
    const bytes = body.subarray(at, end);
    outputs[name] = hostTensor(readBinaryData(name, datatype, shape, elementCount(shape), bytes));
    at = end;
  }
  const versions = json.parameters?.adapter_versions ?? "";
  return { outputs, adapterVersions: parseVersions(versions), modelVersion: json.model_version };
}

function hostTensor({ name, datatype, shape, data }: WireTensor): HostTensor {
  const dtype = DTYPE_OF[datatype];
  if (dtype) return { dtype, dims: shape, data: data as HostTensor["data"] };
  throw serverError(`output ${name}`, `${datatype}, which no policy answers`);
}

function parseVersions(text: string): Record<string, number> {
  const pairs = text === "" ? [] : text.split(",").map((pair) => pair.split("="));
  return Object.fromEntries(pairs.map(([agent, version]) => [agent ?? "", Number(version)]));
}

function adaptersPath(model: string): string {
  return `/v2/repository/models/${encodeURIComponent(model)}/adapters`;
}

function parseUrl(url: string): URL {
  if (URL.canParse(url) && new URL(url).protocol === "http:") return new URL(url);
  throw new LorasaError("LORASA_FLAG", {
    asked: "--server",
    expected: "an address such as http://127.0.0.1:8000",
    received: url,
  });
}

function errorText(body: Buffer): string {
  try {
    return String((JSON.parse(body.toString("utf8")) as { error?: unknown }).error);
  } catch {
    return "an answer that is not JSON";
  }
}

function serverError(asked: string, received: string, mend?: string): LorasaError {
  const parts = { asked, received };
  return new LorasaError("LORASA_SERVER", mend === undefined ? parts : { ...parts, mend });
}
