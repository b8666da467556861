/** Bytes of requests, prepared before anything is timed. Not what is sent when. */
import type { FloatTensor } from "../../../src/base/tensor.ts";

/** Tensors by name: float32, or the int32 agents of tagged rows. */
export type RequestInputs = Readonly<Record<string, FloatTensor | AgentTags>>;

interface AgentTags {
  readonly dtype: "int32";
  readonly dims: readonly number[];
  readonly data: Int32Array;
}

/** Such as sequence_id. */
type Parameters = Readonly<Record<string, string | number | boolean>>;

const DATATYPES = { float32: "FP32", int32: "INT32" } as const;

/** An inference request as the protocol's own clients send it: tensors behind the JSON, and asked for so. */
export function binaryRequest(model: string, inputs: RequestInputs, parameters: Parameters = {}): Buffer {
  const bytes = Object.values(inputs).map(({ data }) =>
    Buffer.from(data.buffer, data.byteOffset, data.byteLength),
  );
  const described = describe(inputs).map((input, at) => ({
    ...input,
    parameters: { binary_data_size: bytes[at]!.length },
  }));
  const json = JSON.stringify({ inputs: described, parameters: { ...parameters, binary_data_output: true } });
  return httpPost(`/v2/models/${model}/infer`, Buffer.concat([Buffer.from(json), ...bytes]), {
    "Content-Type": "application/octet-stream",
    "Inference-Header-Content-Length": `${json.length}`,
  });
}

export function jsonRequest(model: string, inputs: RequestInputs, parameters: Parameters = {}): Buffer {
  const tensors = Object.values(inputs);
  const described = describe(inputs).map((input, at) => ({ ...input, data: [...tensors[at]!.data] }));
  const json = JSON.stringify({ inputs: described, parameters });
  return httpPost(`/v2/models/${model}/infer`, Buffer.from(json), { "Content-Type": "application/json" });
}

export interface AdapterPush {
  readonly model: string;
  readonly adapter: string;
  /** Text of PEFT's configuration and bytes of its tensors. */
  readonly config: string;
  readonly tensors: Uint8Array;
  readonly token: string;
}

/** Replaces a loaded adapter. */
export function pushRequest({ model, adapter, config, tensors, token }: AdapterPush): Buffer {
  const json = Buffer.from(JSON.stringify({ parameters: { config, load_inplace: true } }));
  return httpPost(`/v2/repository/models/${model}/adapters/${adapter}/load`, Buffer.concat([json, tensors]), {
    Authorization: `Bearer ${token}`,
    "Content-Type": "application/octet-stream",
    "Inference-Header-Content-Length": `${json.length}`,
  });
}

export function httpPost(path: string, body: Buffer, headers: Readonly<Record<string, string>> = {}): Buffer {
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  const head = `POST ${path} HTTP/1.1\r\nHost: 127.0.0.1\r\n${lines.join("")}Content-Length: ${body.length}\r\n\r\n`;
  return Buffer.concat([Buffer.from(head), body]);
}

export function httpGet(path: string): Buffer {
  return Buffer.from(`GET ${path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n`);
}

function describe(inputs: RequestInputs) {
  return Object.entries(inputs).map(([name, { dtype, dims }]) => ({
    name,
    shape: dims,
    datatype: DATATYPES[dtype],
  }));
}
