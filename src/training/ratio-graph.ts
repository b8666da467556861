/** How much likelier a block of agents makes its stored draws than when they were drawn. */
import { GraphBuilder } from "../graph/builder.ts";
import { finishGraph } from "../graph/finish.ts";
import type { OnnxModel } from "../onnx/model.ts";
import { type ActorForwardConfig, actorForward } from "./actor-forward.ts";

/**
 * Inputs: `parameters` [G, P] and those of `actor-forward.ts`. Output `ratio` float32 [agents, R, 1]: the product over
 * action dimensions, not clipped.
 */
export function ratioGraph(config: ActorForwardConfig): OnnxModel {
  const g = new GraphBuilder();
  const trained = config.parameters.adapters ?? config.parameters.backbone;
  const parameters = g.input("parameters", "float32", trained.dims);
  const { logProb, oldLogProb } = actorForward(g, config, parameters);
  g.output("ratio", g.exp(g.reduceSum(g.sub(logProb, oldLogProb), [2], true)));
  return finishGraph(g, "ratio");
}
