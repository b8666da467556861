/**
 * A client of a running server: inference, adapters, models, health. What `lorasa simulate`, `lorasa adapter` and
 * `lorasa train --push` speak through; any Open Inference Protocol client can do the same. Connections and bytes are
 * in `client/`.
 */
import { join } from "node:path";
import { readFile, sha256 } from "../src/base/files.ts";
import { CONFIG_FILE, TENSORS_FILE } from "../src/checkpoint/peft.ts";
import { Connection, type ConnectionOptions, type Reply, type Request } from "./client/connection.ts";
import { type AdapterDescription, type AdapterStatus, type ModelFacts, read } from "./client/descriptions.ts";
import { refused, serverError } from "./client/failures.ts";
import { type InferAnswer, parseAnswer } from "./client/infer-answer.ts";
import { InferFrames, type InferInputs, type InferOptions } from "./client/infer-frame.ts";
import type { IndexEntry, ModelStatistics } from "./engine/service.ts";
import { HEADER_LENGTH } from "./protocol/request.ts";

export type { AdapterStatus, ConnectionOptions as ClientOptions, InferAnswer };

export interface PushOptions {
  /** Keeps the adapter in memory. */
  readonly pin?: boolean;
  /** Refuses when an adapter of the name is loaded, instead of replacing it. */
  readonly keep?: boolean;
}

/** Owns its connections until `close`. Every method that asks the server throws LORASA_SERVER when that fails. */
export class ServerClient {
  readonly #connection: Connection;
  readonly #frames = new InferFrames();

  /** @throws LORASA_FLAG for what is not an `http://` or `https://` address; LORASA_FILE for the authorities' file. */
  constructor(url: string, options: ConnectionOptions = {}) {
    this.#connection = new Connection(url, options);
  }

  get url(): string {
    return this.#connection.url;
  }

  /**
   * Sends tensors by name to a model such as `team` or `team.agent_0`; all its outputs come back. Memory of the
   * tensors is free again when the call returns.
   */
  async infer(model: string, inputs: InferInputs, options: InferOptions = {}): Promise<InferAnswer> {
    const frame = this.#frames.frame(inputs, options);
    const body = frame.fill(inputs);
    const request: Request = {
      method: "POST",
      path: `${modelPath(model)}/infer`,
      headers: {
        "Content-Type": "application/octet-stream",
        "Content-Length": body.length,
        [HEADER_LENGTH]: frame.jsonLength,
      },
      body,
      repeatable: options.sequenceId === undefined,
    };
    const reply = await this.#send(request);
    frame.release(body);
    return parseAnswer(reply, this.#asked(request));
  }

  /** Whether the server answers and is ready; false also when it cannot be reached. */
  async isReady(): Promise<boolean> {
    try {
      return (await this.#connection.once(get("/v2/health/ready"))).status === 200;
    } catch {
      return false;
    }
  }

  /** The model's metadata: inputs and outputs with their shapes, and what the server says of it besides. */
  modelMetadata(model: string): Promise<unknown> {
    return this.#json(get(modelPath(model)));
  }

  /** What of a model's metadata says whether an adapter fits. */
  modelFacts(model: string): Promise<ModelFacts> {
    return this.#read(get(modelPath(model)), read.facts);
  }

  /** The model's configuration, in the words of `model_config.proto`. */
  modelConfig(model: string): Promise<unknown> {
    return this.#json(get(`${modelPath(model)}/config`));
  }

  /** Counts and times of a model, or of all. */
  statistics(model?: string): Promise<readonly ModelStatistics[]> {
    return this.#read(
      get(model === undefined ? "/v2/models/stats" : `${modelPath(model)}/stats`),
      read.statistics,
    );
  }

  /** Every name that can be asked, and what is in the server's folder and not loaded. */
  index(): Promise<readonly IndexEntry[]> {
    return this.#read(post("/v2/repository/index"), read.index);
  }

  /** Loads a model of the server's folder, or loads it again. */
  async loadModel(model: string): Promise<void> {
    await this.#send(post(`${repositoryPath(model)}/load`));
  }

  /** Requests that have begun are answered; later ones find no such model. */
  async unloadModel(model: string): Promise<void> {
    await this.#send(post(`${repositoryPath(model)}/unload`));
  }

  /** The adapters of a model. */
  listAdapters(model: string): Promise<readonly AdapterStatus[]> {
    return this.#read(post(`${repositoryPath(model)}/adapters/index`), read.adapters);
  }

  /** One adapter, and the layers that an adapter of this model has. */
  describeAdapter(model: string, adapter: string): Promise<AdapterDescription> {
    return this.#read(get(`${modelPath(model)}/adapters/${encodeURIComponent(adapter)}`), read.description);
  }

  /** Loads or replaces an adapter from the text and bytes of PEFT's two files. */
  pushAdapter(
    model: string,
    adapter: string,
    config: string,
    tensors: Uint8Array,
    { pin, keep }: PushOptions = {},
  ): Promise<AdapterStatus> {
    const parameters = {
      config,
      load_inplace: !keep,
      ...(pin && { pin }),
      // Compared by the server with what arrived.
      sha256: sha256(tensors),
    };
    const request = post(`${adapterPath(model, adapter)}/load`, { parameters }, tensors);
    // Without replacing, a second time would be refused because of the first.
    return this.#read({ ...request, repeatable: !keep }, read.adapter);
  }

  /**
   * Pushes an adapter's folder.
   * @throws LORASA_FILE when it cannot be read.
   */
  async pushAdapterFolder(
    model: string,
    adapter: string,
    folder: string,
    options: PushOptions = {},
  ): Promise<AdapterStatus> {
    const config = readFile(join(folder, CONFIG_FILE), "adapter configuration").toString("utf8");
    const tensors = readFile(join(folder, TENSORS_FILE), "adapter tensors");
    return this.pushAdapter(model, adapter, config, tensors, options);
  }

  /**
   * Unloads an adapter: its requests fail until another is pushed.
   * @param drain waits for requests that have begun; otherwise the server refuses while there are any.
   */
  unloadAdapter(model: string, adapter: string, { drain = true } = {}): Promise<AdapterStatus> {
    return this.#read(
      once(post(`${adapterPath(model, adapter)}/unload`, { parameters: { drain } })),
      read.adapter,
    );
  }

  /** Keeps an adapter in memory. */
  pinAdapter(model: string, adapter: string): Promise<AdapterStatus> {
    return this.#read(post(`${adapterPath(model, adapter)}/pin`), read.adapter);
  }

  unpinAdapter(model: string, adapter: string): Promise<AdapterStatus> {
    return this.#read(post(`${adapterPath(model, adapter)}/unpin`), read.adapter);
  }

  /** Makes the version before the current one again, under a new number. */
  rollbackAdapter(model: string, adapter: string): Promise<AdapterStatus> {
    return this.#read(once(post(`${adapterPath(model, adapter)}/rollback`)), read.adapter);
  }

  /** Ends requests under way too; later ones throw LORASA_DISPOSED. */
  close(): void {
    this.#connection.close();
  }

  async #read<T>(request: Request, reader: (json: unknown, asked: string) => T): Promise<T> {
    return reader(await this.#json(request), this.#asked(request));
  }

  async #json(request: Request): Promise<unknown> {
    const { body } = await this.#send(request);
    try {
      return JSON.parse(body.toString("utf8"));
    } catch (cause) {
      throw serverError(this.#asked(request), "an answer that is not JSON", undefined, cause);
    }
  }

  async #send(request: Request): Promise<Reply> {
    const reply = await this.#connection.send(request);
    if (reply.status === 200) return reply;
    throw refused(this.#asked(request), reply.status, reply.body);
  }

  #asked({ method, path }: Request): string {
    return `${method} ${this.url}${path}`;
  }
}

function get(path: string): Request {
  return { method: "GET", path, repeatable: true };
}

/** JSON, and the bytes of a file behind it where there is one. */
function post(path: string, json?: object, file?: Uint8Array): Request {
  const text = Buffer.from(json === undefined ? "" : JSON.stringify(json));
  const body = file === undefined ? text : Buffer.concat([text, file]);
  const headers = {
    "Content-Length": body.length,
    ...(json !== undefined && file === undefined && { "Content-Type": "application/json" }),
    ...(file !== undefined && { "Content-Type": "application/octet-stream", [HEADER_LENGTH]: text.length }),
  };
  return { method: "POST", path, headers, body, repeatable: true };
}

/** A request whose second time would not do what the first did. */
function once(request: Request): Request {
  return { ...request, repeatable: false };
}

function modelPath(model: string): string {
  return `/v2/models/${encodeURIComponent(model)}`;
}

function repositoryPath(model: string): string {
  return `/v2/repository/models/${encodeURIComponent(model)}`;
}

function adapterPath(model: string, adapter: string): string {
  return `${repositoryPath(model)}/adapters/${encodeURIComponent(adapter)}`;
}
