/** Reads an inference reply of the server, binary or JSON. Not whether it is right. */
import { headerOf, type RawReply } from "./connection.ts";

export interface InferenceReply {
  /** `agent_0=3,agent_1=1`; empty for models without adapters. */
  readonly adapterVersions: string;
  readonly outputs: ReadonlyMap<string, ArrayLike<number>>;
}

interface ReplyJson {
  readonly parameters?: { readonly adapter_versions?: string };
  readonly outputs: readonly {
    readonly name: string;
    readonly data?: readonly number[];
    readonly parameters?: { readonly binary_data_size: number };
  }[];
}

/**
 * @param reply of status 200, all of whose outputs are FP32.
 * @throws Error for what is not an inference reply.
 */
export function readInference({ head, body }: RawReply): InferenceReply {
  const jsonLength = Number(headerOf(head, "inference-header-content-length") ?? body.length);
  // The server's own reply; what it lacks throws here or shows as a wrong number.
  const { parameters, outputs } = JSON.parse(body.toString("utf8", 0, jsonLength)) as ReplyJson;
  const read = new Map<string, ArrayLike<number>>();
  let at = jsonLength;
  for (const { name, data, parameters: own } of outputs) {
    const size = own?.binary_data_size ?? 0;
    // Copied, because the bytes need not be aligned.
    read.set(name, data ?? new Float32Array(new Uint8Array(body.subarray(at, at + size)).buffer));
    at += size;
  }
  if (at !== body.length) throw new Error(`${body.length - at} bytes after the outputs`);
  return { adapterVersions: parameters?.adapter_versions ?? "", outputs: read };
}
