/** Decodes ONNX protobuf bytes into the typed view. What the view cannot hold is refused; soundness: `check.ts`. */
import onnxProto from "onnx-proto";
import { LorasaError } from "../base/errors.ts";
import { DTYPES, type DType, dtypeOfOnnx, formatDims, type HostTensor } from "../base/tensor.ts";
import type { Dim, OnnxAttribute, OnnxModel, OnnxNode, OnnxValueInfo } from "./model.ts";
import { protoNumber, readTensor } from "./tensor-proto.ts";

const { onnx } = onnxProto;
type Proto = typeof onnxProto.onnx;

/** ONNX's two names for the default operator set. */
const DEFAULT_DOMAINS: readonly string[] = ["", "ai.onnx"];

/**
 * The model in `bytes`, its tensors copied out. A size without value or name becomes `"?"`.
 * @param what names the bytes in messages: a path, or "an upload".
 * @throws LORASA_FILE for bytes that are not a model, and for external data, sparse tensors, subgraphs, functions,
 * operators outside `ai.onnx` and element types outside {@link DTYPES}.
 */
export function decodeModel(bytes: Uint8Array, what: string): OnnxModel {
  const proto = parse(bytes, what);
  const { graph } = proto;
  if (!graph || proto.opsetImport.length === 0) throw notAModel(what, "no graph or no operator set");
  if (proto.functions.length > 0) {
    throw unsupported(what, `function ${proto.functions[0]!.name ?? ""}`, "no model-local functions");
  }
  const sparse = graph.sparseInitializer?.[0];
  if (sparse) throw unsupported(what, `initializer ${sparse.values?.name ?? ""}`, "a dense tensor", "sparse");
  return {
    irVersion: protoNumber(proto.irVersion),
    opset: defaultOpset(proto.opsetImport, what),
    name: graph.name ?? "",
    inputs: (graph.input ?? []).map((info) => readValueInfo(info, what)),
    outputs: (graph.output ?? []).map((info) => readValueInfo(info, what)),
    initializers: readInitializers(graph.initializer ?? [], what),
    nodes: (graph.node ?? []).map((node, index) => readNode(node, index, what)),
    metadata: Object.fromEntries(proto.metadataProps.map(({ key, value }) => [key ?? "", value ?? ""])),
  };
}

function parse(bytes: Uint8Array, what: string): InstanceType<Proto["ModelProto"]> {
  try {
    return onnx.ModelProto.decode(bytes);
  } catch (cause) {
    throw notAModel(what, (cause as Error).message.split("\n")[0]!, cause);
  }
}

function defaultOpset(imports: readonly onnxProto.onnx.IOperatorSetIdProto[], what: string): number {
  const versions = imports
    .filter(({ domain }) => DEFAULT_DOMAINS.includes(domain ?? ""))
    .map(({ version }) => protoNumber(version));
  if (versions.length !== 1) {
    throw unsupported(what, "operator sets", "one version of ai.onnx", `${versions.length}`);
  }
  return versions[0]!;
}

function readValueInfo(info: onnxProto.onnx.IValueInfoProto, what: string): OnnxValueInfo {
  const name = info.name ?? "";
  const tensorType = info.type?.tensorType;
  if (!tensorType) throw unsupported(what, `value ${name}`, "a tensor", "another kind of value");
  const dtype = readType(tensorType.elemType, `value ${name}`, what);
  if (!tensorType.shape) throw unsupported(what, `value ${name}`, "a shape", "none");
  return { name, dtype, shape: (tensorType.shape.dim ?? []).map(readDim) };
}

function readDim(dim: onnxProto.onnx.TensorShapeProto.IDimension): Dim {
  if (dim.dimValue !== null && dim.dimValue !== undefined) return protoNumber(dim.dimValue);
  return dim.dimParam || "?";
}

function readType(number: number | null | undefined, asked: string, what: string): DType {
  const dtype = dtypeOfOnnx(number ?? 0);
  if (dtype) return dtype;
  throw unsupported(what, asked, `a type of ${Object.keys(DTYPES).join(", ")}`, `ONNX type ${number}`);
}

function readInitializers(
  protos: readonly onnxProto.onnx.ITensorProto[],
  what: string,
): ReadonlyMap<string, HostTensor> {
  const initializers = new Map<string, HostTensor>();
  for (const proto of protos) {
    const name = proto.name ?? "";
    if (initializers.has(name)) throw unsupported(what, `initializer ${name}`, "one", "two of that name");
    initializers.set(name, tensorOf(proto, `initializer ${name}`, what));
  }
  return initializers;
}

function tensorOf(proto: onnxProto.onnx.ITensorProto, asked: string, what: string): HostTensor {
  const external = onnx.TensorProto.DataLocation.EXTERNAL;
  if (proto.dataLocation === external || (proto.externalData?.length ?? 0) > 0) {
    throw unsupported(what, asked, "its values inside the file", "a reference to external data");
  }
  const dtype = readType(proto.dataType, asked, what);
  const dims = (proto.dims ?? []).map(protoNumber);
  const count = dims.reduce((product, size) => product * size, 1);
  if (!Number.isSafeInteger(count) || dims.some((size) => size < 0)) {
    throw unsupported(what, asked, "sizes of a product below 2^53", formatDims(dims));
  }
  try {
    return { dtype, dims, data: readTensor(proto, dtype, count) };
  } catch (cause) {
    throw unsupported(what, asked, `values for ${dtype} ${formatDims(dims)}`, (cause as Error).message);
  }
}

function readNode(node: onnxProto.onnx.INodeProto, index: number, what: string): OnnxNode {
  const name = node.name || `${node.opType}_${index}`;
  if (!DEFAULT_DOMAINS.includes(node.domain ?? "")) {
    throw unsupported(what, `node ${name}`, "an operator of ai.onnx", `one of ${node.domain}`);
  }
  // ONNX Runtime's kernel writes to the part that is not there.
  if (node.opType === "Split" && (node.output ?? []).includes("")) {
    throw unsupported(what, `outputs of node ${name}`, "a name for each part of a Split", "one without");
  }
  return {
    name,
    op: node.opType ?? "",
    inputs: node.input ?? [],
    outputs: node.output ?? [],
    attributes: Object.fromEntries(
      (node.attribute ?? []).map((attribute) => [
        attribute.name ?? "",
        readAttribute(attribute, `attribute ${attribute.name} of node ${name}`, what),
      ]),
    ),
  };
}

function readAttribute(proto: onnxProto.onnx.IAttributeProto, asked: string, what: string): OnnxAttribute {
  const type = onnx.AttributeProto.AttributeType;
  switch (proto.type) {
    case type.INT:
      return { int: protoNumber(proto.i) };
    case type.INTS:
      return { ints: (proto.ints ?? []).map(protoNumber) };
    case type.FLOAT:
      return { float: proto.f ?? 0 };
    case type.FLOATS:
      return { floats: proto.floats ?? [] };
    case type.STRING:
      return { string: Buffer.from(proto.s ?? []).toString("utf8") };
    case type.TENSOR:
      return { tensor: tensorOf(proto.t ?? {}, asked, what) };
    default:
      throw unsupported(what, asked, "a number, a list of numbers, a text or a tensor", kindName(proto.type));
  }
}

function kindName(number: number | null | undefined): string {
  return number ? (onnx.AttributeProto.AttributeType[number] ?? `kind ${number}`) : "no kind";
}

function notAModel(what: string, received: string, cause?: unknown): LorasaError {
  return new LorasaError("LORASA_FILE", { asked: what, expected: "an ONNX model", received, cause });
}

function unsupported(what: string, part: string, expected: string, received = "one"): LorasaError {
  const asked = `${what}: ${printable(part)}`;
  return new LorasaError("LORASA_FILE", { asked, expected, received: printable(received) });
}

/** Names in a file may be of any length and hold line ends; a message is one short line. */
function printable(text: string): string {
  const line = text.replace(/\p{C}/gu, "\u{fffd}");
  return line.length > 120 ? `${line.slice(0, 119)}…` : line;
}
