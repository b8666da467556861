/**
 * The weights that act while others are trained: every agent's own network, formed in the device's memory from what is
 * trained and what is frozen. Not how they are trained.
 */
import { type ActorParameters, networkLayout, type Sharing } from "../../models/policy.ts";
import { floatTensor } from "../base/tensor.ts";
import { encodeModel } from "../onnx/encode.ts";
import type { ResidentTensor, Runtime, Session } from "../runtime/session.ts";
import { formsNetworks, networksGraph } from "./acting-graph.ts";

interface Forming {
  readonly session: Session;
  /** float32 [N, P]. */
  readonly networks: ResidentTensor;
  /** float32 [1 or clusters, P] under adapters: never written. */
  readonly frozen: ResidentTensor | undefined;
}

export interface ActingNetworksOptions {
  readonly runtime: Runtime;
  readonly parameters: ActorParameters;
  readonly sharing: Sharing;
  readonly agents: number;
  /** Float32 in the backbone's dims; what adapters are trained on. */
  readonly backbone: Float32Array;
}

/** Owns the frozen backbone and the formed networks, not what is trained. */
export class ActingNetworks {
  readonly #forming: Forming | undefined;

  constructor(options: ActingNetworksOptions) {
    this.#forming = formsNetworks(options.sharing) ? startForming(options) : undefined;
  }

  /** The backbone under adapters, as graphs that train them read it. */
  get frozen(): ResidentTensor | undefined {
    return this.#forming?.frozen;
  }

  /**
   * Forms the networks of what is trained now.
   * @returns float32 [1 or N, P]: until the next call, and as long as `trained` stands.
   */
  form(trained: ResidentTensor): ResidentTensor {
    if (!this.#forming) return trained;
    const { session, frozen, networks } = this.#forming;
    session.run(frozen ? { backbone: frozen, adapters: trained } : { backbone: trained }, { networks });
    return networks;
  }

  dispose(): void {
    this.#forming?.session.dispose();
    this.#forming?.networks.dispose();
    this.#forming?.frozen?.dispose();
  }
}

function startForming({ runtime, parameters, sharing, agents, backbone }: ActingNetworksOptions): Forming {
  const { size } = networkLayout(parameters, sharing, agents);
  return {
    session: runtime.createSession(encodeModel(networksGraph(parameters, sharing, agents))),
    networks: runtime.allocate("float32", [agents, size]),
    frozen: parameters.adapters && runtime.upload(floatTensor(parameters.backbone.dims, backbone)),
  };
}
