/**
 * The same graph with the same adapters as the server has for a team request, and plain reading and writing of the
 * protocol around it: nothing is checked, counted, queued or batched. Not an HTTP server.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { type FloatTensor, floatTensor, type HostTensor } from "../../../src/base/tensor.ts";
import { adapterParameters } from "../../../src/checkpoint/adapter.ts";
import { readAdapter } from "../../../src/checkpoint/peft.ts";
import type { ModelManifest } from "../../../src/checkpoint/repository.ts";
import { readModelManifest } from "../../../src/checkpoint/repository-files.ts";
import { createRuntime } from "../../../src/runtime/onnxruntime.ts";
import type { BoundRun } from "../../../src/runtime/session.ts";

/** A request's JSON, as far as it is read. */
export interface TwinRequest {
  readonly inputs: readonly [
    {
      readonly data?: readonly number[];
      readonly parameters?: { readonly binary_data_size: number };
    },
  ];
}

/** What the reply says beside its outputs; a twin of the server says the same. */
export type ReplyParameters = Readonly<Record<string, unknown>>;

/** Answers requests of one environment: [1, N, O] has the memory of the graph's [N, 1, O]. */
export class TwinPolicy {
  readonly #manifest: ModelManifest;
  readonly #input: Float32Array;
  readonly #outputs: readonly {
    readonly name: string;
    readonly data: Float32Array;
    readonly shape: number[];
  }[];
  readonly #bound: BoundRun;
  parameters: ReplyParameters = {};

  /** @param folder of the exported model. */
  constructor(folder: string) {
    this.#manifest = readModelManifest(folder);
    const session = createRuntime().createSession(readFileSync(join(folder, this.#manifest.graphs.team!)));
    const team = this.#manifest.agents.length;
    const obs = floatTensor([team, 1, this.#manifest.observationSize]);
    const outputs = session.outputs.map(({ name, shape }) => {
      const width = Number(shape.at(-1));
      return { name, shape: [1, team, width], tensor: floatTensor([team, 1, width]) };
    });
    const fetches = Object.fromEntries(outputs.map(({ name, tensor }) => [name, tensor]));
    this.#input = obs.data;
    this.#outputs = outputs.map(({ name, shape, tensor }) => ({ name, shape, data: tensor.data }));
    this.#bound = session.bind({ obs, ...stackedAdapters(folder, this.#manifest) }, fetches);
  }

  /** Binary tensors in, binary tensors out. */
  answerBinary(body: Buffer, jsonLength: number): { readonly json: Buffer; readonly tensors: Buffer[] } {
    const request = JSON.parse(body.toString("utf8", 0, jsonLength)) as TwinRequest;
    const size = request.inputs[0].parameters!.binary_data_size;
    new Uint8Array(this.#input.buffer).set(body.subarray(jsonLength, jsonLength + size));
    this.#bound.run();
    // Copied, because the next run may come before the socket has sent them.
    const tensors = this.#outputs.map(({ data }) => Buffer.from(new Uint8Array(data.buffer.slice(0))));
    const described = this.#outputs.map(({ name, shape, data }) => ({
      name,
      datatype: "FP32",
      shape,
      parameters: { binary_data_size: data.byteLength },
    }));
    return { json: Buffer.from(JSON.stringify(this.#reply(described))), tensors };
  }

  /** Numbers in, numbers out. */
  answerJson(request: TwinRequest): object {
    this.#input.set(request.inputs[0].data!);
    this.#bound.run();
    const described = this.#outputs.map(({ name, shape, data }) => ({
      name,
      datatype: "FP32",
      shape,
      data: Array.from(data),
    }));
    return this.#reply(described);
  }

  #reply(outputs: readonly object[]): object {
    const { name, version } = this.#manifest;
    return { model_name: name, model_version: version, parameters: this.parameters, outputs };
  }
}

/** The adapters of every agent, float32 [N, …] each, by the graph's inputs. */
export function stackedAdapters(folder: string, { agents }: ModelManifest): Record<string, FloatTensor> {
  const own = agents.map(({ name }) => adapterParameters(readAdapter(join(folder, "adapters", name))));
  return stackParameters(own);
}

/** Tensors of the same names and shapes along a new first axis. */
export function stackParameters(
  own: readonly ReadonlyMap<string, HostTensor>[],
): Record<string, FloatTensor> {
  const names = [...own[0]!.keys()];
  return Object.fromEntries(
    names.map((name) => {
      const parts = own.map((parameters) => parameters.get(name)!);
      const all = floatTensor([own.length, ...parts[0]!.dims]);
      for (const [at, { data }] of parts.entries()) all.data.set(data as Float32Array, at * data.length);
      return [name, all];
    }),
  );
}
