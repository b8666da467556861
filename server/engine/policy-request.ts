/**
 * Checks the tensors of a request against a policy and turns them into rows: the only place where a client's
 * shapes, agents and values are judged. Not where they run.
 */
import { LorasaError, suggestion } from "../../src/base/errors.ts";
import { elementCount, firstNonFinite, formatDims } from "../../src/base/tensor.ts";
import type { ModelManifest } from "../../src/checkpoint/repository.ts";
import { ROW_LIMIT } from "../limits.ts";
import type { WireTensor } from "../protocol/datatypes.ts";
import type { InferRequest } from "../protocol/request.ts";
import { clearPadding, isPadded } from "./padding.ts";
import { type RowAgents, type RowBlock, rowCount, sameAgents } from "./placement.ts";
import { POLICY_INPUTS, type PolicyInput, type RowSizes, rowSizes } from "./policy-tensors.ts";

/** What a request is addressed to: the whole team, or one agent of it. */
export interface Addressee {
  readonly manifest: ModelManifest;
  readonly agent?: number;
  /** Row inputs that the model's graphs have. */
  readonly accepts: readonly PolicyInput[];
  readonly sizes: RowSizes;
  /** Inputs whose rows are padded for some agents. */
  readonly padded: ReadonlySet<PolicyInput>;
  readonly agentIndex: ReadonlyMap<string, number>;
}

/** Adapters that rows name one by one: row i wants `distinct[index[i]]`. */
export interface NamedAdapters {
  readonly distinct: readonly string[];
  readonly index: Int32Array;
}

/** Leading sizes of the reply's tensors, such as `[E, N]` or `[B]`, and the rows. */
export interface CheckedRequest {
  readonly leading: readonly number[];
  readonly agents: RowAgents;
  readonly features: Readonly<Partial<Record<PolicyInput, RowBlock>>>;
  readonly named?: NamedAdapters;
}

/** Recurrent state that the server holds for a request: of its sequence, or none when it starts one. */
export interface HeldState {
  readonly hidden: Float32Array | undefined;
  /** Whose rows the state is. */
  readonly agents: RowAgents | undefined;
}

type Inputs = InferRequest["inputs"];

export function addresseeOf(
  manifest: ModelManifest,
  accepts: readonly PolicyInput[],
  agent?: number,
): Addressee {
  const padded = accepts.filter(
    (name) => agent === undefined && isPadded(manifest, POLICY_INPUTS[name].width),
  );
  return {
    manifest,
    accepts,
    sizes: rowSizes(manifest, agent),
    padded: new Set(padded),
    agentIndex: new Map(manifest.agents.map(({ name }, index) => [name, index])),
    ...(agent !== undefined && { agent }),
  };
}

/**
 * @param held state of the request's sequence; with it `hidden_in` may be left out.
 * @throws LORASA_NAME, LORASA_SHAPE, LORASA_DTYPE, LORASA_NOT_FINITE, LORASA_UNKNOWN_AGENT, LORASA_RANGE,
 *   LORASA_TOO_LARGE.
 */
export function checkRequest(addressee: Addressee, inputs: Inputs, held?: HeldState): CheckedRequest {
  const { manifest, accepts, padded } = addressee;
  checkNames(addressee, inputs);
  const agents = readAgents(addressee, inputs);
  const team = manifest.agents.length;
  const leading = agents.kind === "team" ? [agents.environments, team] : [rowCount(agents, team)];
  const features: Partial<Record<PolicyInput, RowBlock>> = {};
  features.obs = readFeature("obs", inputs, leading, addressee);
  checkRowLimit(rowCount(agents, team));
  for (const name of accepts) {
    const block =
      features[name] ??
      (name === "hidden_in" && held && !inputs.has(name)
        ? heldRows(held, agents, leading, addressee)
        : readFeature(name, inputs, leading, addressee));
    features[name] = padded.has(name) ? withoutPadding(name, block, manifest, agents) : block;
  }
  if (features.action_mask) checkMask(features.action_mask);
  const named = readNamed(inputs, leading, addressee);
  return { leading, agents, features, ...(named && { named }) };
}

/** Inputs that a request to this addressee may hold, for messages. */
function acceptedNames({ agent, accepts }: Addressee): readonly string[] {
  return agent === undefined ? [...accepts, "agent", "adapter"] : [...accepts, "adapter"];
}

function checkNames(addressee: Addressee, inputs: Inputs): void {
  for (const name of inputs.keys()) {
    // The names of the table are the type of the list.
    if (addressee.accepts.includes(name as PolicyInput)) continue;
    if (name === "adapter" || (name === "agent" && addressee.agent === undefined)) continue;
    throw new LorasaError("LORASA_NAME", {
      asked: `input ${name}`,
      expected: "an input of the model",
      received: "an unknown name",
      mend: suggestion(name, acceptedNames(addressee)),
    });
  }
}

function readAgents({ agent, agentIndex }: Addressee, inputs: Inputs): RowAgents {
  const first = inputs.get("obs")?.shape[0] ?? 0;
  if (agent !== undefined) return { kind: "agent", agent, rows: first };
  const tags = inputs.get("agent");
  if (tags === undefined) return { kind: "team", environments: first };
  if (tags.shape.length !== 1) throw shapeError("input agent", "[B]", formatDims(tags.shape));
  return { kind: "tagged", index: readTags("agent", tags, agentIndex) };
}

/** Agent indices, each in 0 … N−1: a graph would quietly take the last agent for −1. */
function readTags(input: string, tags: WireTensor, agents: ReadonlyMap<string, number>): Int32Array {
  if (tags.datatype === "BYTES") return Int32Array.from(tags.data, (name) => agentNamed(name, agents));
  if (tags.datatype !== "INT32" && tags.datatype !== "INT64") {
    throw new LorasaError("LORASA_DTYPE", {
      asked: `input ${input}`,
      expected: "INT32 or INT64 indices, or BYTES names",
      received: tags.datatype,
    });
  }
  const index = new Int32Array(tags.data.length);
  for (let row = 0; row < index.length; row++) {
    const agent = Number(tags.data[row]);
    if (!(agent >= 0 && agent < agents.size)) {
      throw new LorasaError("LORASA_UNKNOWN_AGENT", {
        asked: `input ${input}[${row}]`,
        expected: `0 to ${agents.size - 1}`,
        received: `${tags.data[row]}`,
      });
    }
    index[row] = agent;
  }
  return index;
}

function agentNamed(name: string, agents: ReadonlyMap<string, number>): number {
  const index = agents.get(name);
  if (index !== undefined) return index;
  throw new LorasaError("LORASA_UNKNOWN_AGENT", {
    asked: `agent ${JSON.stringify(name.slice(0, 80))}`,
    expected: "an agent of the team",
    received: "an unknown name",
    mend: suggestion(name.slice(0, 80), [...agents.keys()]),
  });
}

/** The `adapter [B]` input: names, or indices of agents whose own adapters are meant. */
function readNamed(
  inputs: Inputs,
  leading: readonly number[],
  { manifest, agentIndex }: Addressee,
): NamedAdapters | undefined {
  const tensor = inputs.get("adapter");
  if (tensor === undefined) return undefined;
  if (leading.length !== 1 || tensor.shape.length !== 1 || tensor.shape[0] !== leading[0]) {
    const expected = leading.length === 1 ? formatDims(leading) : "rows [B, …] with agent [B]";
    throw shapeError("input adapter", expected, formatDims(tensor.shape));
  }
  const names =
    tensor.datatype === "BYTES"
      ? tensor.data
      : Array.from(readTags("adapter", tensor, agentIndex), (agent) => manifest.agents[agent]!.name);
  const places = new Map<string, number>();
  const index = Int32Array.from(names, (name) => {
    const place = places.get(name) ?? places.size;
    places.set(name, place);
    return place;
  });
  return { distinct: [...places.keys()], index };
}

function checkRowLimit(rows: number): void {
  if (rows >= 1 && rows <= ROW_LIMIT) return;
  throw new LorasaError(rows < 1 ? "LORASA_SHAPE" : "LORASA_TOO_LARGE", {
    asked: "rows of the request",
    expected: `1 to ${ROW_LIMIT}`,
    received: `${rows}`,
  });
}

/** The rows of an input; a mask may be left out, any other input of the graph may not. */
function readFeature(
  name: PolicyInput,
  inputs: Inputs,
  leading: readonly number[],
  { sizes, agent }: Addressee,
): RowBlock {
  const width = POLICY_INPUTS[name].width(sizes);
  const tensor = inputs.get(name);
  if (tensor === undefined) return missingFeature(name, [...leading, width]);
  const { shape } = tensor;
  const fits =
    shape.length === leading.length + 1 &&
    shape[0] === leading[0] &&
    (leading.length === 1 || shape[1] === leading[1]) &&
    shape[leading.length] === width;
  if (!fits) {
    const tagged = agent === undefined && inputs.has("agent");
    throw shapeError(`input ${name}`, describeShape(leading, width, tagged), formatDims(shape));
  }
  return { width, data: floats(name, tensor) };
}

function missingFeature(name: PolicyInput, expected: readonly number[]): RowBlock {
  const width = expected.at(-1) ?? 0;
  if (name === "action_mask") return { width, data: new Float32Array(elementCount(expected)).fill(1) };
  throw new LorasaError("LORASA_NAME", {
    asked: `input ${name}`,
    expected: `FP32 ${name === "obs" ? "observations" : formatDims(expected)}, ${POLICY_INPUTS[name].about}`,
    received: "none",
  });
}

function heldRows(
  { hidden, agents: before }: HeldState,
  agents: RowAgents,
  leading: readonly number[],
  { manifest, sizes: { hidden: width } }: Addressee,
): RowBlock {
  const count = elementCount([...leading, width]);
  if (hidden === undefined) return { width, data: new Float32Array(count) };
  if (hidden.length !== count) {
    const held = hidden.length / elementCount([...leading.slice(1), width]);
    throw shapeError("rows of the sequence", `${held}, as it began`, `${leading[0]}`);
  }
  // One agent's state must not go on as another's.
  if (!before || sameAgents(before, agents, manifest.agents.length)) return { width, data: hidden };
  throw shapeError(
    "rows of the sequence",
    "those of the same agents, in the order of the last request",
    "others",
  );
}

function floats(name: string, tensor: WireTensor): Float32Array {
  if (tensor.datatype === "BOOL" && name === "action_mask") return Float32Array.from(tensor.data);
  if (tensor.datatype !== "FP32") {
    throw new LorasaError("LORASA_DTYPE", {
      asked: `input ${name}`,
      expected: "FP32",
      received: tensor.datatype,
    });
  }
  const at = firstNonFinite(tensor.data);
  if (at < 0) return tensor.data;
  throw new LorasaError("LORASA_NOT_FINITE", {
    asked: `input ${name}${formatIndex(at, tensor.shape)}`,
    expected: "a finite number in float32",
    received: `${tensor.data[at]}`,
  });
}

/** The block with zeros where agents have no features of their own; the client's memory is left as it is. */
function withoutPadding(
  name: PolicyInput,
  block: RowBlock,
  manifest: ModelManifest,
  agents: RowAgents,
): RowBlock {
  const confined = { width: block.width, data: block.data.slice() };
  clearPadding(confined, manifest, agents, POLICY_INPUTS[name].width);
  return confined;
}

/** Ones and zeros only, and something left to choose in every row. */
function checkMask({ data, width }: RowBlock): void {
  for (let row = 0; row * width < data.length; row++) {
    let available = 0;
    for (let action = 0; action < width; action++) {
      const value = data[row * width + action]!;
      if (value !== 0 && value !== 1) throw maskError(row, action, `${value}`);
      available += value;
    }
    if (available === 0) throw maskError(row, undefined, "none available");
  }
}

function maskError(row: number, action: number | undefined, received: string): LorasaError {
  return new LorasaError("LORASA_RANGE", {
    asked: `input action_mask row ${row}${action === undefined ? "" : `, action ${action}`}`,
    expected: action === undefined ? "an available action" : "0 or 1",
    received,
  });
}

function describeShape(leading: readonly number[], width: number, tagged: boolean): string {
  if (leading.length < 2) return formatDims([tagged ? leading[0]! : "B", width]);
  return `${formatDims(["E", leading[1]!, width])}, or ${formatDims(["B", width])} with agent [B]`;
}

/** `[2][0][5]` for a flat position. */
function formatIndex(at: number, shape: readonly number[]): string {
  let rest = at;
  const parts: string[] = [];
  for (const size of shape.toReversed()) {
    parts.unshift(`[${rest % size}]`);
    rest = Math.floor(rest / size);
  }
  return parts.join("");
}

function shapeError(asked: string, expected: string, received: string): LorasaError {
  return new LorasaError("LORASA_SHAPE", { asked, expected, received });
}
