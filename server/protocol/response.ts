/** Writes an inference reply: JSON, followed by the bytes of the outputs that were asked for as binary. */
import { writeBinaryData } from "./binary-data.ts";
import type { WireTensor } from "./datatypes.ts";
import { writeJsonData } from "./json-data.ts";
import type { ParameterValue } from "./request.ts";

interface InferReply {
  readonly id: string;
  readonly modelName: string;
  readonly modelVersion: string;
  readonly parameters: Readonly<Record<string, ParameterValue>>;
  readonly outputs: readonly { readonly tensor: WireTensor; readonly binary: boolean }[];
}

/** A reply: its JSON, then the bytes of the tensors that were asked for as binary, in order. */
export interface EncodedReply {
  readonly json: string;
  /** Length of the JSON in UTF-8. */
  readonly jsonBytes: number;
  readonly tensors: readonly Uint8Array[];
}

/** Texts whose JSON is remembered; all are forgotten when there are more. */
const QUOTED_LIMIT = 256;
const quoted = new Map<string, string>();

/** Fields in the order id (when not empty), model_name, model_version, parameters (when any), outputs. */
export function encodeInferReply(reply: InferReply): EncodedReply {
  const tensors: Uint8Array[] = [];
  const outputs = reply.outputs.map(({ tensor, binary }) => {
    const head = `{"name":${quote(tensor.name)},"datatype":"${tensor.datatype}","shape":[${tensor.shape.join(",")}]`;
    if (!binary) return `${head},"data":${writeJsonData(tensor)}}`;
    const bytes = writeBinaryData(tensor);
    tensors.push(bytes);
    return `${head},"parameters":{"binary_data_size":${bytes.length}}}`;
  });
  const json = `${replyHead(reply)}"outputs":[${outputs.join(",")}]}`;
  return { json, jsonBytes: Buffer.byteLength(json), tensors };
}

function replyHead(reply: InferReply): string {
  const id = reply.id === "" ? "" : `"id":${JSON.stringify(reply.id)},`;
  const model = `"model_name":${quote(reply.modelName)},"model_version":${quote(reply.modelVersion)},`;
  let parameters = "";
  for (const name in reply.parameters) {
    const value = reply.parameters[name]!;
    parameters += `${parameters && ","}${quote(name)}:${typeof value === "string" ? quote(value) : value}`;
  }
  return `{${id}${model}${parameters && `"parameters":{${parameters}},`}`;
}

/** Names and adapter versions come again with every reply: their JSON is written once. */
function quote(text: string): string {
  const known = quoted.get(text);
  if (known !== undefined) return known;
  if (quoted.size >= QUOTED_LIMIT) quoted.clear();
  const json = JSON.stringify(text);
  quoted.set(text, json);
  return json;
}
