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
import { type RowAgents, type RowBlock, rowCount } from "./placement.ts";
import { POLICY_INPUTS, type PolicyInput, type RowSizes, rowSizes } from "./policy-tensors.ts";
import type { PolicyRows } from "./run-rows.ts";

/** What a request is addressed to: the whole team, or one agent by its index. */
export interface Addressee {
  readonly manifest: ModelManifest;
  readonly agent?: number;
  /** Row inputs that the model's graphs have. */
  readonly accepts: readonly PolicyInput[];
}

/** Leading sizes of the reply's tensors, such as `[E, N]` or `[B]`, and the rows. */
export interface CheckedRequest {
  readonly leading: readonly number[];
  readonly rows: PolicyRows;
}

type Inputs = InferRequest["inputs"];

/**
 * @throws LORASA_NAME, LORASA_SHAPE, LORASA_DTYPE, LORASA_NOT_FINITE, LORASA_UNKNOWN_AGENT, LORASA_RANGE,
 *   LORASA_TOO_LARGE.
 */
export function checkRequest(addressee: Addressee, inputs: Inputs): CheckedRequest {
  const { manifest, agent, accepts } = addressee;
  const team = manifest.agents.length;
  const tagged = agent === undefined && inputs.has("agent");
  checkNames(addressee, inputs);
  const agents = readAgents(addressee, inputs);
  const leading = leadingSizes(agents, team);
  const sizes = rowSizes(manifest, agent);
  const features: Partial<Record<PolicyInput, RowBlock>> = {};
  features.obs = readFeature("obs", inputs, leading, sizes, tagged);
  checkRowLimit(rowCount(agents, team));
  for (const name of accepts) {
    const block = features[name] ?? readFeature(name, inputs, leading, sizes, tagged);
    features[name] = withoutPadding(name, block, manifest, agents);
  }
  if (features.action_mask) checkMask(features.action_mask);
  return { leading, rows: { agents, team, features, answered: sizes } };
}

/** Inputs that a request to this addressee may hold, for messages. */
function acceptedNames({ agent, accepts }: Addressee): readonly string[] {
  return agent === undefined ? [...accepts, "agent"] : accepts;
}

function checkNames(addressee: Addressee, inputs: Inputs): void {
  const known = acceptedNames(addressee);
  for (const name of inputs.keys()) {
    if (known.includes(name)) continue;
    throw new LorasaError("LORASA_NAME", {
      asked: `input ${name}`,
      expected: "an input of the model",
      received: "an unknown name",
      mend: suggestion(name, known),
    });
  }
}

function readAgents(addressee: Addressee, inputs: Inputs): RowAgents {
  const { manifest, agent } = addressee;
  const observation = inputs.get("obs");
  const first = observation?.shape[0] ?? 0;
  if (agent !== undefined) return { kind: "agent", agent, rows: first };
  const tags = inputs.get("agent");
  if (tags === undefined) return { kind: "team", environments: first };
  if (tags.shape.length !== 1) throw shapeError("input agent", "[B]", formatDims(tags.shape));
  return { kind: "tagged", index: readTags(tags, manifest) };
}

/** Agent indices, each in 0 … N−1: a graph would quietly take the last agent for −1. */
function readTags(tags: WireTensor, manifest: ModelManifest): Int32Array {
  const names = manifest.agents.map(({ name }) => name);
  if (tags.datatype === "BYTES") return Int32Array.from(tags.data, (name) => agentNamed(name, names));
  if (tags.datatype !== "INT32" && tags.datatype !== "INT64") {
    throw new LorasaError("LORASA_DTYPE", {
      asked: "input agent",
      expected: "INT32 or INT64 indices, or BYTES names",
      received: tags.datatype,
    });
  }
  const index = new Int32Array(tags.data.length);
  for (let row = 0; row < index.length; row++) {
    const agent = Number(tags.data[row]);
    if (!(agent >= 0 && agent < names.length)) {
      throw new LorasaError("LORASA_UNKNOWN_AGENT", {
        asked: `input agent[${row}]`,
        expected: `0 to ${names.length - 1}`,
        received: `${tags.data[row]}`,
      });
    }
    index[row] = agent;
  }
  return index;
}

function agentNamed(name: string, names: readonly string[]): number {
  const index = names.indexOf(name);
  if (index >= 0) return index;
  throw new LorasaError("LORASA_UNKNOWN_AGENT", {
    asked: `agent ${JSON.stringify(name.slice(0, 80))}`,
    expected: "an agent of the team",
    received: "an unknown name",
    mend: suggestion(name.slice(0, 80), names),
  });
}

function leadingSizes(agents: RowAgents, team: number): readonly number[] {
  if (agents.kind === "team") return [agents.environments, team];
  return [rowCount(agents, team)];
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
  sizes: RowSizes,
  tagged: boolean,
): RowBlock {
  const width = POLICY_INPUTS[name].width(sizes);
  const expected = [...leading, width];
  const tensor = inputs.get(name);
  if (tensor === undefined) return missingFeature(name, expected);
  if (tensor.shape.length !== expected.length || tensor.shape.some((size, axis) => size !== expected[axis])) {
    throw shapeError(`input ${name}`, describeShape(leading, width, tagged), formatDims(tensor.shape));
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
  const own = POLICY_INPUTS[name].width;
  if (!isPadded(manifest, agents, own)) return block;
  const confined = { width: block.width, data: block.data.slice() };
  clearPadding(confined, manifest, agents, own);
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
