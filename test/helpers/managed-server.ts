/** A tiny server with the management token, and plain ways to ask it as a hostile client does. */
import assert from "node:assert/strict";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { CONFIG_FILE, encodeAdapter, TENSORS_FILE } from "../../src/checkpoint/peft.ts";
import { exchange, requestBytes } from "./raw-http.ts";
import type { TinyPolicy } from "./tiny-models.ts";
import { ask, serveTiny, type TextReply, type TinyServer, TOKEN } from "./tiny-server.ts";

/** A sound input of the team. */
export const OBS = { name: "obs", datatype: "FP32", shape: [1, 2, 3], data: [1, 2, 3, 4, 5, 6] };

const BEARER = { Authorization: `Bearer ${TOKEN}` };
const ADAPTER = "/v2/models/team/adapters/agent_0";
/** Loads the first agent's adapter. */
export const LOAD = "/v2/repository/models/team/adapters/agent_0/load";

export interface Status {
  readonly status: number;
  readonly text: string;
}

export class ManagedServer {
  readonly tiny: TinyServer;
  readonly port: number;

  private constructor(tiny: TinyServer) {
    this.tiny = tiny;
    this.port = Number(new URL(tiny.url).port);
  }

  static async open(
    context: TestContext,
    options: Parameters<typeof serveTiny>[2] = {},
  ): Promise<ManagedServer> {
    return new ManagedServer(await serveTiny(context, { mode: "factored" }, { token: TOKEN, ...options }));
  }

  /** The model's own folder of adapters. */
  get adapters(): string {
    return join(this.tiny.repository, "team", "adapters");
  }

  /** A path as it is written: other clients resolve dots before they ask. */
  async raw(verb: string, path: string, body = "{}"): Promise<Status> {
    const { replies } = await exchange(this.port, requestBytes(verb, path, Object.entries(BEARER), body));
    return { status: replies[0]?.status ?? 0, text: `${replies[0]?.body ?? ""}` };
  }

  post(path: string, body: object): Promise<TextReply> {
    return ask(this.tiny.url + path, { method: "POST", headers: BEARER, body: JSON.stringify(body) });
  }

  infer(body: object): Promise<TextReply> {
    return this.post("/v2/models/team/infer", body);
  }

  /** Loads the first agent's adapter by a path. */
  load(path: string): Promise<TextReply> {
    return this.post(LOAD, { parameters: { path, load_inplace: true } });
  }

  /** Loads the first agent's adapter from base64. */
  push({
    config,
    tensors,
  }: {
    readonly config?: string;
    readonly tensors?: Buffer;
  } = {}): Promise<TextReply> {
    const files = adapterFiles(this.tiny.policy);
    const encoded = (tensors ?? files.tensors).toString("base64");
    const source = { config: config ?? files.config, "file:adapter_model.safetensors": encoded };
    return this.post(LOAD, { parameters: { ...source, load_inplace: true } });
  }

  /** Loads it from the bytes behind the JSON. */
  pushFramed(tensors: Buffer): Promise<TextReply> {
    const { config } = adapterFiles(this.tiny.policy);
    const json = Buffer.from(JSON.stringify({ parameters: { config, load_inplace: true } }));
    const headers = { ...BEARER, "Inference-Header-Content-Length": `${json.length}` };
    return ask(this.tiny.url + LOAD, { method: "POST", headers, body: Buffer.concat([json, tensors]) });
  }

  /** Of the first agent's adapter. */
  async version(): Promise<unknown> {
    const { text } = await ask(this.tiny.url + ADAPTER);
    return (JSON.parse(text) as { readonly version: unknown }).version;
  }

  /** It still answers, and no fault of its own was seen. */
  async assertServes(): Promise<void> {
    assert.equal((await this.infer({ inputs: [OBS] })).status, 200);
    assert.deepEqual(this.tiny.faults, []);
  }
}

/** A sound adapter of the policy. */
export function adapterFiles(policy: TinyPolicy): { readonly config: string; readonly tensors: Buffer } {
  const files = encodeAdapter(policy.adapter(3));
  return { config: Buffer.from(files[CONFIG_FILE]!).toString(), tensors: Buffer.from(files[TENSORS_FILE]!) };
}

export function writeAdapterFiles(folder: string, policy: TinyPolicy): void {
  const { config, tensors } = adapterFiles(policy);
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, CONFIG_FILE), config);
  writeFileSync(join(folder, TENSORS_FILE), tensors);
}

/** The text of an error, in the protocol's form or in vLLM's. */
export function errorText({ text }: Status): string {
  const { error } = JSON.parse(text) as { readonly error: string | { readonly message: string } };
  return typeof error === "string" ? error : error.message;
}
