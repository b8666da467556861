/** What `inspect` answers, and how facts, tensors and adapters are written whatever file they come from. */
import { formatBytes, formatFixed } from "../../base/format.ts";
import { elementCount, formatDims, type HostTensor } from "../../base/tensor.ts";
import type { AdapterLayer } from "../../checkpoint/repository.ts";
import { type Table, terminalTable } from "../../report/table.ts";

export interface Inspection {
  /** `kind` first; what the other fields are depends on it. */
  readonly json: { readonly kind: string } & Readonly<Record<string, unknown>>;
  readonly text: string;
}

/** Lines of names and values in two columns; facts without a value are left out. */
export function factLines(facts: Readonly<Record<string, string | number | undefined>>): string {
  const known = Object.entries(facts).filter(([, value]) => value !== undefined && value !== "");
  const width = Math.max(...known.map(([name]) => name.length));
  return known.map(([name, value]) => `${name.padEnd(width)}  ${value}`).join("\n");
}

/** Parts of a text, an empty line between them. */
export function paragraphs(...parts: readonly string[]): string {
  return parts
    .map((part) => part.trimEnd())
    .filter((part) => part !== "")
    .join("\n\n");
}

/** `12,345`. */
export function exactCount(count: number): string {
  return formatFixed(count, 0);
}

/** `2.1 MiB (2,203,456 bytes)`. */
export function exactBytes(bytes: number): string {
  return bytes < 1024 ? `${bytes} bytes` : `${formatBytes(bytes)} (${exactCount(bytes)} bytes)`;
}

/** Name, type, shape and bytes of each. */
export function describeTensors(tensors: ReadonlyMap<string, HostTensor>): TensorFacts[] {
  return [...tensors].map(([name, { dtype, dims, data }]) => ({
    name,
    dtype,
    shape: dims,
    elements: elementCount(dims),
    bytes: data.byteLength,
  }));
}

export interface TensorFacts {
  readonly name: string;
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly elements: number;
  readonly bytes: number;
}

export function tensorTable(tensors: readonly TensorFacts[]): string {
  return textTable(
    ["tensor", "type", "shape", "elements"],
    tensors.map(({ name, dtype, shape, elements }) => [name, dtype, formatDims(shape), elements]),
  );
}

/** Numbers that one agent's adapter has; a vector's A is the constant 1 and not one of them. */
export function adapterParameterCount(layers: readonly AdapterLayer[]): number {
  return layers.reduce((sum, layer) => sum + layerParameters(layer), 0);
}

export function layerTable(layers: readonly AdapterLayer[]): string {
  return textTable(
    ["layer", "in", "out", "rank", "scale", "parameters"],
    layers.map((layer) => [
      layer.name,
      layer.in,
      layer.out,
      layer.rank,
      `${Number(layer.scale.toPrecision(6))}`,
      layerParameters(layer),
    ]),
  );
}

/** A table whose numbers are written in full. */
export function textTable(titles: readonly string[], rows: Table["rows"]): string {
  return terminalTable({ columns: titles.map((title) => ({ title, format: exactCount })), rows });
}

/** A part of a whole as `12.3 %`. */
export function share(part: number, whole: number): string {
  return `${Number(((100 * part) / whole).toPrecision(3))} %`;
}

function layerParameters({ in: inSize, out, rank }: AdapterLayer): number {
  return (inSize === 1 ? 0 : inSize * rank) + rank * out;
}
