/** Inference requests as bytes: JSON, then the values of the tensors. Not how they are sent. */
import { LorasaError } from "../../src/base/errors.ts";
import { DTYPES, type DType, elementCount, type HostTensor } from "../../src/base/tensor.ts";
import type { Datatype } from "../protocol/datatypes.ts";

export type InferInputs = Readonly<Record<string, HostTensor>>;

/** What a request asks for besides its tensors. */
export interface InferOptions {
  /** Adapter that answers, such as `agent_0.blue`, in place of the agent's own. */
  readonly adapterId?: string;
  /** Sequence whose recurrent state the server keeps; such a request is never sent twice. */
  readonly sequenceId?: string | number;
  /** Begins the sequence from zeros. */
  readonly sequenceStart?: boolean;
  /** Lets the server forget the sequence afterwards. */
  readonly sequenceEnd?: boolean;
  /** From 1, which goes first. */
  readonly priority?: number;
  /** Microseconds that the request may wait in the server's queue. */
  readonly timeoutUs?: number;
}

/** Parameters on the wire by option. */
const PARAMETERS = {
  adapterId: "adapter_id",
  sequenceId: "sequence_id",
  sequenceStart: "sequence_start",
  sequenceEnd: "sequence_end",
  priority: "priority",
  timeoutUs: "timeout",
} as const satisfies Record<keyof InferOptions, string>;

const DATATYPE_OF: Readonly<Partial<Record<DType, Exclude<Datatype, "BYTES">>>> = {
  float32: "FP32",
  float64: "FP64",
  int32: "INT32",
  int64: "INT64",
  bool: "BOOL",
};

const FRAME_LIMIT = 64;

/** Frames of requests that came before, by the shapes of their tensors and their options. */
export class InferFrames {
  readonly #frames = new Map<string, InferFrame>();

  frame(inputs: InferInputs, options: InferOptions): InferFrame {
    const parameters = wireParameters(options);
    // There can be thousands of sequences, and each is a frame of its own.
    if (options.sequenceId !== undefined) return new InferFrame(inputs, parameters);
    let key = JSON.stringify(parameters);
    for (const name in inputs) key += `${name} ${inputs[name]!.dtype} ${inputs[name]!.dims.join("x")};`;
    let frame = this.#frames.get(key);
    if (frame === undefined) {
      frame = new InferFrame(inputs, parameters);
      // Batch sizes that never settle must not fill the memory: start over, frames are cheap to make.
      if (this.#frames.size >= FRAME_LIMIT) this.#frames.clear();
      this.#frames.set(key, frame);
    }
    return frame;
  }
}

/** The bytes of requests with the same tensors and options: JSON padded so that the values behind it are aligned. */
class InferFrame {
  readonly jsonLength: number;
  readonly #json: Buffer;
  readonly #bytes: number;
  /** Buffers of settled requests, to be filled again. */
  readonly #free: Buffer[] = [];

  constructor(inputs: InferInputs, parameters: Readonly<Record<string, string | number | boolean>>) {
    const described = Object.entries(inputs).map(([name, tensor]) => ({
      name,
      datatype: datatypeOf(name, tensor.dtype),
      shape: tensor.dims,
      parameters: { binary_data_size: byteSize(tensor) },
    }));
    const text = JSON.stringify({
      parameters: { ...parameters, binary_data_output: true },
      inputs: described,
    });
    this.jsonLength = Math.ceil(Buffer.byteLength(text) / 8) * 8;
    this.#json = Buffer.alloc(this.jsonLength, " ");
    this.#json.write(text);
    this.#bytes = this.jsonLength + Object.values(inputs).reduce((sum, tensor) => sum + byteSize(tensor), 0);
  }

  fill(inputs: InferInputs): Buffer {
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

function wireParameters(options: InferOptions): Record<string, string | number | boolean> {
  const parameters: Record<string, string | number | boolean> = {};
  for (const key in options) {
    // The keys of an options object are its own.
    const option = key as keyof InferOptions;
    const value = options[option];
    if (value !== undefined) parameters[PARAMETERS[option]] = value;
  }
  return parameters;
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
