/** Where `playEpisodes` gets its actions: a server over HTTP, or an exported model in this process. */

import type { ServerClient } from "../../../server/client.ts";
import { loadModel } from "../../../server/engine/load-model.ts";
import type { PolicyModel } from "../../../server/engine/policy-model.ts";
import type { HostTensor } from "../../base/tensor.ts";
import type { Runtime } from "../../runtime/session.ts";
import type { TeamPolicy } from "./episodes.ts";

/** What a served model says of itself, as far as playing needs it. */
export interface ServedModel {
  readonly environment: string;
  readonly hiddenSize: number;
}

/** Reads the environment and the recurrent state's size out of a model's metadata. */
export async function describeServed(client: ServerClient, model: string): Promise<ServedModel> {
  // The metadata of a lorasa server; fields that another server lacks are left open.
  const metadata = (await client.modelMetadata(model)) as {
    readonly inputs: readonly { readonly name: string; readonly shape: readonly number[] }[];
    readonly properties?: Readonly<Record<string, string>>;
  };
  const hidden = metadata.inputs.find(({ name }) => name === "hidden_in");
  return {
    environment: metadata.properties?.["lorasa.environment"] ?? "",
    hiddenSize: hidden?.shape.at(-1) ?? 0,
  };
}

/** Adapter versions that replies named, by agent, and how many distinct ones. */
export class ServedTeam implements TeamPolicy {
  readonly versions = new Map<string, Set<number>>();
  readonly #client: ServerClient;
  readonly #model: string;

  constructor(client: ServerClient, model: string) {
    this.#client = client;
    this.#model = model;
  }

  async infer(inputs: Readonly<Record<string, HostTensor>>): Promise<Readonly<Record<string, HostTensor>>> {
    const { outputs, adapterVersions } = await this.#client.infer(this.#model, inputs);
    for (const [agent, version] of Object.entries(adapterVersions)) {
      const seen = this.versions.get(agent) ?? new Set();
      this.versions.set(agent, seen.add(version));
    }
    return outputs;
  }
}

/** Loads an exported model's folder, on the quickest of the devices, and answers from it without HTTP. */
export async function localTeam(
  folder: string,
  runtimes: readonly Runtime[],
): Promise<{ policy: TeamPolicy; model: PolicyModel }> {
  const [runtime, ...otherRuntimes] = runtimes as [Runtime, ...Runtime[]];
  const model = await loadModel(folder, { runtime, otherRuntimes, threads: 1 });
  const [endpoint] = model.endpoints;
  const policy: TeamPolicy = {
    async infer(inputs) {
      const wire = Object.entries(inputs).map(([name, { dims, data }]) => {
        return [
          name,
          { name, datatype: "FP32", shape: [...dims], data: (data as Float32Array).slice() },
        ] as const;
      });
      const { outputs } = model.inferNow(endpoint!, {
        id: "",
        parameters: {},
        inputs: new Map(wire),
        binaryDefault: true,
      });
      return Object.fromEntries(
        outputs.map(({ tensor: { name, datatype, shape, data } }) => [
          name,
          {
            dtype: datatype === "INT64" ? "int64" : "float32",
            dims: shape,
            data: data as HostTensor["data"],
          } as const,
        ]),
      );
    },
  };
  return { policy, model };
}
