/** Results of the engine as inference messages of gRPC, their tensors raw as Triton's clients expect. */
import type { InferResult } from "../engine/service.ts";
import { writeBinaryData } from "../protocol/binary-data.ts";
import { messageType } from "./definitions.ts";
import { encodeMessage } from "./wire.ts";

const RESPONSE = messageType("inference.ModelInferResponse");
const STREAM_RESPONSE = messageType("inference.ModelStreamInferResponse");

/** An encoded `ModelInferResponse`, its tensors raw. */
export function writeInferResponse(id: string, result: InferResult): Buffer {
  return encodeMessage(RESPONSE, responseFields(id, result));
}

/** An encoded `ModelStreamInferResponse` of a result. */
export function writeStreamResponse(id: string, result: InferResult): Buffer {
  return encodeMessage(STREAM_RESPONSE, { infer_response: responseFields(id, result) });
}

/** An encoded `ModelStreamInferResponse` of an error, with the `id` by which a client knows what failed. */
export function writeStreamError(id: string, text: string): Buffer {
  return encodeMessage(STREAM_RESPONSE, { error_message: text, infer_response: { id } });
}

function responseFields(id: string, result: InferResult): object {
  const { modelName, modelVersion, parameters, outputs } = result;
  return {
    model_name: modelName,
    model_version: modelVersion,
    id,
    parameters: parameterFields(parameters),
    outputs: outputs.map(({ tensor: { name, datatype, shape } }) => ({ name, datatype, shape })),
    raw_output_contents: outputs.map(({ tensor }) => writeBinaryData(tensor)),
  };
}

const PARAMETER_FIELDS = { string: "string_param", boolean: "bool_param", number: "double_param" } as const;

function parameterFields(parameters: InferResult["parameters"]): object {
  const fields: Record<string, object> = {};
  for (const key in parameters) {
    const value = parameters[key]!;
    fields[key] = { [PARAMETER_FIELDS[typeof value as keyof typeof PARAMETER_FIELDS]]: value };
  }
  return fields;
}
