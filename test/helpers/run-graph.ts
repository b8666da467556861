/** Builds a graph around named tensors, runs it once on the CPU and gives its outputs. */
import type { HostTensor } from "../../src/base/tensor.ts";
import { GraphBuilder } from "../../src/graph/builder.ts";
import { finishGraph } from "../../src/graph/finish.ts";
import type { Value } from "../../src/graph/value.ts";
import { encodeModel } from "../../src/onnx/encode.ts";
import type { OnnxModel } from "../../src/onnx/model.ts";
import { createRuntime } from "../../src/runtime/onnxruntime.ts";

export type Tensors = Readonly<Record<string, HostTensor>>;

/** Every entry of `feeds` becomes an input of its own name; what `build` returns becomes the outputs. */
export function buildGraph(
  feeds: Tensors,
  build: (g: GraphBuilder, x: Readonly<Record<string, Value>>) => Readonly<Record<string, Value>>,
): OnnxModel {
  const g = new GraphBuilder();
  const inputs = Object.entries(feeds).map(
    ([name, { dtype, dims }]) => [name, g.input(name, dtype, dims)] as const,
  );
  for (const [name, value] of Object.entries(build(g, Object.fromEntries(inputs)))) g.output(name, value);
  return finishGraph(g, "test");
}

export function runModel(model: OnnxModel, feeds: Tensors): Record<string, HostTensor> {
  const session = createRuntime().createSession(encodeModel(model));
  try {
    return session.run(feeds) as Record<string, HostTensor>;
  } finally {
    session.dispose();
  }
}

/** {@link buildGraph} and {@link runModel} at once, outputs as plain numbers. */
export function runGraph(feeds: Tensors, build: Parameters<typeof buildGraph>[1]): Record<string, number[]> {
  return Object.fromEntries(
    Object.entries(runModel(buildGraph(feeds, build), feeds)).map(([name, { data }]) => [
      name,
      Array.from(data as ArrayLike<number | bigint>, Number),
    ]),
  );
}
