/** Encodes a model as ONNX protobuf bytes, the same for the same model. Not checked here: see `check.ts`. */
import onnxProto from "onnx-proto";
import { DTYPES, type HostTensor } from "../base/tensor.ts";
import type { OnnxAttribute, OnnxModel, OnnxNode, OnnxValueInfo } from "./model.ts";

const { onnx } = onnxProto;

/** The model as bytes that any ONNX runtime of its opset loads; weights are inside, never in external files. */
export function encodeModel(model: OnnxModel): Uint8Array {
  const proto = onnx.ModelProto.create({
    irVersion: model.irVersion,
    producerName: "lorasa",
    opsetImport: [{ domain: "", version: model.opset }],
    metadataProps: Object.entries(model.metadata)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, value]) => ({ key, value })),
    graph: {
      name: model.name,
      input: model.inputs.map(valueInfo),
      output: model.outputs.map(valueInfo),
      initializer: [...model.initializers].map(([name, tensor]) => tensorProto(name, tensor)),
      node: model.nodes.map(nodeProto),
    },
  });
  return onnx.ModelProto.encode(proto).finish();
}

function valueInfo(info: OnnxValueInfo): onnxProto.onnx.IValueInfoProto {
  const dim = info.shape.map((size) => (typeof size === "number" ? { dimValue: size } : { dimParam: size }));
  return { name: info.name, type: { tensorType: { elemType: DTYPES[info.dtype].onnx, shape: { dim } } } };
}

function tensorProto(name: string, tensor: HostTensor): onnxProto.onnx.ITensorProto {
  const { buffer, byteOffset, byteLength } = tensor.data;
  return {
    name,
    dims: [...tensor.dims],
    dataType: DTYPES[tensor.dtype].onnx,
    rawData: new Uint8Array(buffer, byteOffset, byteLength),
  };
}

function nodeProto(node: OnnxNode): onnxProto.onnx.INodeProto {
  return {
    name: node.name,
    opType: node.op,
    input: [...node.inputs],
    output: [...node.outputs],
    attribute: Object.entries(node.attributes).map(([name, value]) => attributeProto(name, value)),
  };
}

function attributeProto(name: string, value: OnnxAttribute): onnxProto.onnx.IAttributeProto {
  const type = onnx.AttributeProto.AttributeType;
  if ("int" in value) return { name, type: type.INT, i: value.int };
  if ("ints" in value) return { name, type: type.INTS, ints: [...value.ints] };
  if ("float" in value) return { name, type: type.FLOAT, f: value.float };
  if ("floats" in value) return { name, type: type.FLOATS, floats: [...value.floats] };
  if ("string" in value) return { name, type: type.STRING, s: Buffer.from(value.string) };
  return { name, type: type.TENSOR, t: tensorProto("", value.tensor) };
}
