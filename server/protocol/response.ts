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

/** Fields in the order id (when not empty), model_name, model_version, parameters (when any), outputs. */
export function encodeInferReply(reply: InferReply): EncodedReply {
  const tensors: Uint8Array[] = [];
  const outputs = reply.outputs.map(({ tensor, binary }) => {
    const head = `{"name":${JSON.stringify(tensor.name)},"datatype":"${tensor.datatype}","shape":[${tensor.shape.join(",")}]`;
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
  const model = `"model_name":${JSON.stringify(reply.modelName)},"model_version":${JSON.stringify(reply.modelVersion)},`;
  const parameters =
    Object.keys(reply.parameters).length === 0 ? "" : `"parameters":${JSON.stringify(reply.parameters)},`;
  return `{${id}${model}${parameters}`;
}
