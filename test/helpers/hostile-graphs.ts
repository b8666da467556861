/** ONNX files that reach for other files or hide that they do, and a way to plant them in a repository. Not how they are read. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import onnxProto from "onnx-proto";
import { sha256 } from "../../src/base/files.ts";
import type { ModelManifest } from "../../src/checkpoint/repository.ts";

const { onnx } = onnxProto;

type Proto = InstanceType<typeof onnx.ModelProto>;
type Tensor = onnxProto.onnx.ITensorProto;

/** The file with its first initializer's values in another file. */
export function withExternalData(graph: Uint8Array, location: string): Uint8Array {
  return changed(graph, (proto) => makeExternal(firstInitializer(proto), location));
}

/** Other places where a tensor, and so a reference to a file, may stand; each is one of its own in the format. */
export const HIDING_PLACES: Readonly<Record<string, (graph: Uint8Array, location: string) => Uint8Array>> = {
  "a sparse initializer's values": (graph, location) =>
    changed(graph, (proto) => {
      const values = withoutValues(firstInitializer(proto), location);
      proto.graph!.sparseInitializer = [{ values, indices: indices(), dims: [3, 2] }];
    }),
  "a sparse initializer's indices": (graph, location) =>
    changed(graph, (proto) => {
      const values = onnx.TensorProto.create({ name: "s", dataType: 1, dims: [1], floatData: [1] });
      proto.graph!.sparseInitializer = [{ values, indices: makeExternal(indices(), location), dims: [3, 2] }];
    }),
  "a node's attribute": (graph, location) =>
    changed(graph, (proto) => {
      const t = withoutValues(firstInitializer(proto), location);
      proto.graph!.node!.unshift(constant({ name: "value", type: 4, t }));
    }),
  "a node's list of tensors": (graph, location) =>
    changed(graph, (proto) => {
      const tensors = [withoutValues(firstInitializer(proto), location)];
      proto.graph!.node!.unshift(constant({ name: "value", type: 9, tensors }));
    }),
  "a subgraph": (graph, location) =>
    changed(graph, (proto) => {
      const inner = { name: "inner", initializer: [withoutValues(firstInitializer(proto), location)] };
      proto.graph!.node!.unshift(constant({ name: "then_branch", type: 5, g: inner }));
    }),
  "a function of the model": (graph, location) =>
    changed(graph, (proto) => {
      const t = withoutValues(firstInitializer(proto), location);
      proto.functions = [{ name: "f", domain: "x", node: [constant({ name: "value", type: 4, t })] }];
    }),
  "training information": (graph, location) =>
    changed(graph, (proto) => {
      const initializer = [withoutValues(firstInitializer(proto), location)];
      proto.trainingInfo = [{ initialization: { name: "i", initializer } }];
    }),
  "the first of two graphs": (graph, location) => withTwoGraphs(graph, location, true),
  "the second of two graphs": (graph, location) => withTwoGraphs(graph, location, false),
  "behind a field of another kind": behindAnotherKind,
};

/** Replaces a file of a model and what its manifest records of it. */
export function plant(repository: string, model: string, path: string, bytes: Uint8Array): void {
  writeFileSync(join(repository, model, path), bytes);
  const manifestPath = join(repository, model, "model.json");
  const manifest = JSON.parse(readFileSync(manifestPath, "utf8")) as ModelManifest;
  manifest.files[path] = { bytes: bytes.length, sha256: sha256(bytes) };
  writeFileSync(manifestPath, JSON.stringify(manifest));
}

/** Parsers that follow the format merge a field that stands there twice; others keep the last. */
function withTwoGraphs(graph: Uint8Array, location: string, first: boolean): Uint8Array {
  const { head, graph: sound } = parts(onnx.ModelProto.decode(graph));
  const evil = parts(onnx.ModelProto.decode(withExternalData(graph, location))).graph;
  const rest = Buffer.from(onnx.GraphProto.encode({ name: "rest" }).finish());
  const graphs = first ? [evil, rest] : [sound, evil];
  return Buffer.concat([head, ...graphs.map((each) => field(7, each))]);
}

/** A length where a number belongs: parsers that go by the field read what follows as fields, others pass it over. */
function behindAnotherKind(graph: Uint8Array, location: string): Uint8Array {
  const { head, graph: sound } = parts(onnx.ModelProto.decode(graph));
  const hidden = field(7, parts(onnx.ModelProto.decode(withExternalData(graph, location))).graph);
  const documentation = Buffer.concat([varint((6 << 3) | 2), varint(hidden.length)]);
  const shown = Buffer.concat([field(7, sound), documentation]);
  return Buffer.concat([head, field(1, shown), hidden]);
}

function changed(graph: Uint8Array, change: (proto: Proto) => void): Uint8Array {
  const proto = onnx.ModelProto.decode(graph);
  change(proto);
  return onnx.ModelProto.encode(proto).finish();
}

/** The encoded graph, and the model without it. */
function parts(proto: Proto): { readonly head: Buffer; readonly graph: Buffer } {
  const graph = Buffer.from(onnx.GraphProto.encode(proto.graph!).finish());
  proto.graph = null;
  return { head: Buffer.from(onnx.ModelProto.encode(proto).finish()), graph };
}

function firstInitializer(proto: Proto): Tensor {
  return proto.graph!.initializer![0]!;
}

function makeExternal(tensor: Tensor, location: string): Tensor {
  delete tensor.rawData;
  tensor.floatData = [];
  tensor.int64Data = [];
  tensor.dataLocation = onnx.TensorProto.DataLocation.EXTERNAL;
  tensor.externalData = [{ key: "location", value: location }];
  return tensor;
}

function withoutValues(tensor: Tensor, location: string): Tensor {
  const copy = onnx.TensorProto.decode(onnx.TensorProto.encode(tensor).finish());
  copy.name = "planted";
  return makeExternal(copy, location);
}

function indices(): Tensor {
  return onnx.TensorProto.create({ dataType: 7, dims: [1], int64Data: [0] });
}

function constant(attribute: onnxProto.onnx.IAttributeProto): onnxProto.onnx.INodeProto {
  return { opType: "Constant", name: "planted", output: ["planted"], attribute: [attribute] };
}

function field(number: number, body: Buffer): Buffer {
  return Buffer.concat([varint((number << 3) | 2), varint(body.length), body]);
}

function varint(value: number): Buffer {
  const bytes: number[] = [];
  for (let rest = value; ; rest = Math.floor(rest / 128)) {
    if (rest < 128) return Buffer.from([...bytes, rest]);
    bytes.push((rest % 128) + 128);
  }
}
