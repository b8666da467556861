/** A typed view of an ONNX model as plain data: what graphs become before they are encoded. Not its bytes. */
import type { DType, HostTensor } from "../base/tensor.ts";

/** A size in numbers, or the name of one that is known only at run time. */
export type Dim = number | string;
export type Shape = readonly Dim[];

/** ONNX marks whole and broken numbers apart, so an attribute carries its kind. */
export type OnnxAttribute =
  | { readonly int: number }
  | { readonly ints: readonly number[] }
  | { readonly float: number }
  | { readonly floats: readonly number[] }
  | { readonly string: string }
  | { readonly tensor: HostTensor };

export interface OnnxNode {
  readonly name: string;
  readonly op: string;
  /** Names of values; an empty name is an input left out. */
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly attributes: Readonly<Record<string, OnnxAttribute>>;
}

export interface OnnxValueInfo {
  readonly name: string;
  readonly dtype: DType;
  readonly shape: Shape;
}

export interface OnnxModel {
  readonly irVersion: number;
  /** Version of the default operator set `ai.onnx`, the only one used. */
  readonly opset: number;
  readonly name: string;
  readonly inputs: readonly OnnxValueInfo[];
  readonly outputs: readonly OnnxValueInfo[];
  readonly initializers: ReadonlyMap<string, HostTensor>;
  readonly nodes: readonly OnnxNode[];
  readonly metadata: Readonly<Record<string, string>>;
}
