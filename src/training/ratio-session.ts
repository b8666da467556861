/** Runs the ratio of one agent over a whole rollout: how far it has moved from the policy that acted. */
import type { FloatTensor } from "../base/tensor.ts";
import { floatTensor } from "../base/tensor.ts";
import { encodeModel } from "../onnx/encode.ts";
import type { Runtime, Session } from "../runtime/session.ts";
import type { ActorForwardConfig } from "./actor-forward.ts";
import type { ActorTrainer } from "./actor-trainer.ts";
import type { BatchInput } from "./minibatches.ts";
import { ratioGraph } from "./ratio-graph.ts";

/** Owns its session. */
export class RatioSession {
  readonly #session: Session;
  readonly #rows: number;

  /** @param config of the whole rollout's chunks; its block is one agent. */
  constructor(runtime: Runtime, config: Omit<ActorForwardConfig, "block">) {
    this.#session = runtime.createSession(encodeModel(ratioGraph({ ...config, block: 1 })));
    this.#rows = config.chunks * config.chunkLength;
  }

  /** float32 [R]: π / π_old of the stored actions, the product over dimensions. */
  run(
    { inputs, pick }: { readonly inputs: Readonly<Record<string, BatchInput>>; readonly pick: FloatTensor },
    { trained, frozen }: ActorTrainer,
  ): Float32Array {
    const named = this.#session.inputs.map(({ name, shape }) => {
      const input = inputs[name];
      // Graphs that train have no named size.
      return input ? ([[name, floatTensor(shape as number[], input.data)]] as const) : [];
    });
    const feeds = {
      ...Object.fromEntries(named.flat()),
      pick,
      parameters: trained,
      ...(frozen && { frozen }),
    };
    const ratio = floatTensor([1, this.#rows, 1]);
    this.#session.run(feeds, { ratio });
    return ratio.data;
  }

  dispose(): void {
    this.#session.dispose();
  }
}
