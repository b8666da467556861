/** Replies to inference as tensors: binary where they are, JSON where a server chose so. Not how they arrive. */
import { type DType, elementCount, type HostTensor } from "../../src/base/tensor.ts";
import { readBinaryData } from "../protocol/binary-data.ts";
import { type Datatype, isDatatype, type WireTensor } from "../protocol/datatypes.ts";
import { readJsonData } from "../protocol/json-data.ts";
import { HEADER_LENGTH } from "../protocol/request.ts";
import type { Reply } from "./connection.ts";
import { serverError } from "./failures.ts";

export interface InferAnswer {
  readonly outputs: Readonly<Record<string, HostTensor>>;
  /** Version by adapter; empty for models whose adapters are in their graphs. */
  readonly adapterVersions: Readonly<Record<string, number>>;
  readonly modelVersion: string;
}

/** What the protocol says of a reply; a server that writes another is told apart by what fails on it. */
interface AnswerJson {
  readonly model_version?: string;
  readonly parameters?: { readonly adapter_versions?: string };
  readonly outputs: readonly OutputJson[];
}

interface OutputJson {
  readonly name: string;
  readonly datatype: unknown;
  readonly shape: readonly number[];
  readonly parameters?: { readonly binary_data_size?: number };
  readonly data?: unknown;
}

const DTYPE_OF: Readonly<Partial<Record<Datatype, DType>>> = {
  FP32: "float32",
  FP64: "float64",
  INT64: "int64",
  INT32: "int32",
  BOOL: "bool",
};

/**
 * @param asked the request, for messages.
 * @throws LORASA_SERVER for what is no reply of the Open Inference Protocol.
 */
export function parseAnswer({ headers, body }: Reply, asked: string): InferAnswer {
  try {
    const jsonLength = Number(headers[HEADER_LENGTH] ?? body.length);
    const json = JSON.parse(body.toString("utf8", 0, jsonLength)) as AnswerJson;
    const outputs: Record<string, HostTensor> = {};
    let at = jsonLength;
    for (const output of json.outputs) {
      const end = at + (output.parameters?.binary_data_size ?? 0);
      outputs[output.name] = readOutput(output, body.subarray(at, end));
      at = end;
    }
    const adapterVersions = parseVersions(json.parameters?.adapter_versions ?? "");
    return { outputs, adapterVersions, modelVersion: json.model_version ?? "" };
  } catch (cause) {
    const reason = (cause as Error).message;
    throw serverError(asked, `an answer that is not the protocol's (${reason})`, undefined, cause);
  }
}

function readOutput({ name, datatype, shape, parameters, data }: OutputJson, bytes: Buffer): HostTensor {
  const dtype = isDatatype(datatype) ? DTYPE_OF[datatype] : undefined;
  if (!isDatatype(datatype) || dtype === undefined)
    throw new TypeError(`output ${name} of ${datatype}, which no policy answers`);
  const count = elementCount(shape);
  const tensor: WireTensor =
    parameters?.binary_data_size === undefined
      ? readJsonData(name, datatype, shape, count, data)
      : readBinaryData(name, datatype, shape, count, bytes);
  // The datatypes of the table above have arrays that host tensors have too.
  return { dtype, dims: shape, data: tensor.data as HostTensor["data"] };
}

function parseVersions(text: string): Record<string, number> {
  const pairs = text === "" ? [] : text.split(",").map((pair) => pair.split("="));
  return Object.fromEntries(pairs.map(([adapter, version]) => [adapter ?? "", Number(version)]));
}
