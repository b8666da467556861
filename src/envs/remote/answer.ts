/**
 * What a simulator sends after a command, read from JSON or binary and checked whole before any of it is used. Not what
 * is done with it.
 *
 * Letters: E environments of the command, N agents.
 */
import { LorasaError } from "../../base/errors.ts";
import type { Layout, Rows } from "./layout.ts";
import { record, whole, wrong } from "./spaces.ts";

/** What a command asks for: first observations after `reset`, the step's result after `act`. */
export type CommandKind = "reset" | "act";

/** Numbers [E, total], environment by environment, each as {@link Rows} says; absent where they were not sent. */
export type AnswerArrays = Partial<Record<ArrayName, Float32Array | Float64Array>>;

export type ArrayName =
  | "observations"
  | "state"
  | "action_mask"
  | "active"
  | "rewards"
  | "terminated"
  | "truncated"
  | "final_observations"
  | "final_state"
  | "figures";

/** How one array looks, and when it must be there. */
interface ArrayRule {
  /** Rows in an environment, or undefined where the task has no such array. */
  readonly rows: (layout: Layout) => Rows | undefined;
  /** In JSON an environment is [N] arrays, one flat array, or a single number. */
  readonly form: "agents" | "flat" | "number" | "figures";
  /** `ended`: of environments whose episode ended, null for the others. */
  readonly of: "every" | "step" | "ended" | "optional";
  readonly values: "finite" | "flags";
}

const ONE: Rows = { sizes: [1], width: 1, total: 1 };
const present = (rows: Rows): Rows | undefined => (rows.total > 0 ? rows : undefined);
const state = ({ state }: Layout): Rows | undefined => present(state);

const RULES = {
  observations: { rows: (layout) => layout.observations, form: "agents", of: "every", values: "finite" },
  state: { rows: state, form: "agents", of: "every", values: "finite" },
  action_mask: {
    rows: (layout) => present(layout.actionMask),
    form: "agents",
    of: "optional",
    values: "flags",
  },
  active: { rows: (layout) => layout.active, form: "flat", of: "optional", values: "flags" },
  rewards: { rows: () => ONE, form: "number", of: "step", values: "finite" },
  terminated: { rows: () => ONE, form: "number", of: "step", values: "flags" },
  truncated: { rows: () => ONE, form: "number", of: "step", values: "flags" },
  final_observations: {
    rows: (layout) => layout.observations,
    form: "agents",
    of: "ended",
    values: "finite",
  },
  final_state: { rows: state, form: "agents", of: "ended", values: "finite" },
  figures: { rows: figureRows, form: "figures", of: "ended", values: "finite" },
} as const satisfies Record<ArrayName, ArrayRule>;

const NAMES = Object.keys(RULES) as ArrayName[];

/** A request's body before it is known whether it answers anything. */
export type Body =
  | { readonly kind: "json"; readonly fields: Readonly<Record<string, unknown>> }
  | { readonly kind: "binary"; readonly fields: Readonly<Record<string, unknown>>; readonly numbers: Buffer };

/**
 * JSON, or a header of JSON with its length before it (uint32, little-endian) and float32 numbers after it.
 * @throws LORASA_REQUEST.
 */
export function parseBody(bytes: Buffer, binary: boolean): Body {
  if (!binary) return { kind: "json", fields: record(parseJson(bytes), "body") };
  const length = bytes.length < 4 ? Number.POSITIVE_INFINITY : bytes.readUInt32LE(0);
  if (4 + length > bytes.length)
    throw wrong("body", "4 bytes with the header's length, the header, numbers", `${bytes.length} bytes`);
  const fields = record(parseJson(bytes.subarray(4, 4 + length)), "header");
  return { kind: "binary", fields, numbers: bytes.subarray(4 + length) };
}

/** The number of the command that a body answers. @throws LORASA_REQUEST. */
export function sequenceOf({ fields }: Body): number {
  return whole("sequence", fields["sequence"], 0, Number.MAX_SAFE_INTEGER);
}

/**
 * The answer to a command for `envs` environments, complete and sound.
 * @throws LORASA_REQUEST, LORASA_SHAPE or LORASA_NOT_FINITE naming array, environment and agent.
 */
export function readAnswer(body: Body, kind: CommandKind, envs: number, layout: Layout): AnswerArrays {
  const answer = body.kind === "json" ? fromJson(body.fields, envs, layout) : fromBinary(body, envs, layout);
  for (const name of NAMES) checkPresence(answer, name, kind, layout);
  for (const name of NAMES) checkValues(answer, name, envs, layout);
  checkChoices(answer, envs, layout);
  return answer;
}

/** Whether environment `i` of a step's result ended. */
export function ended(answer: AnswerArrays, i: number): boolean {
  return answer.terminated?.[i] === 1 || answer.truncated?.[i] === 1;
}

function fromJson(fields: Readonly<Record<string, unknown>>, envs: number, layout: Layout): AnswerArrays {
  const answer: AnswerArrays = {};
  for (const [field, input] of Object.entries(fields)) {
    if (field === "sequence") continue;
    const name = knownName(field);
    const rule: ArrayRule = RULES[name];
    const rows = rule.rows(layout);
    if (rows === undefined || input === null) continue;
    const list = arrayOf(input, envs, name);
    const numbers = new Float64Array(envs * rows.total);
    for (let i = 0; i < envs; i++) {
      if (rule.of === "ended" && list[i] === null)
        numbers.fill(Number.NaN, i * rows.total, (i + 1) * rows.total);
      else
        putEnvironment(list[i], rule.form, numbers.subarray(i * rows.total, (i + 1) * rows.total), {
          rows,
          where: `${name} of environment ${i}`,
          layout,
        });
    }
    answer[name] = numbers;
  }
  return answer;
}

interface Place {
  readonly rows: Rows;
  readonly where: string;
  readonly layout: Layout;
}

function putEnvironment(input: unknown, form: ArrayRule["form"], into: Float64Array, place: Place): void {
  const { rows, where, layout } = place;
  if (form === "number") {
    into[0] = number(typeof input === "boolean" ? Number(input) : input, where);
  } else if (form === "figures") {
    const figures = record(input, where);
    for (const [k, name] of layout.spec.episodeFigures.entries())
      into[k] = number(figures[name], `${where}, ${name}`);
  } else if (form === "flat" || rows.sizes.length === 1) {
    // A team of one agent, or one state for the team, may also come without the outer array.
    const flat = Array.isArray(input) && Array.isArray(input[0]) && input.length === 1 ? input[0] : input;
    putNumbers(arrayOf(flat, rows.total, where), into, 0, where);
  } else {
    const list = arrayOf(input, rows.sizes.length, where);
    for (let agent = 0, at = 0; agent < list.length; agent++) {
      const size = rows.sizes[agent]!;
      const name = `${where}, agent ${layout.spec.agents[agent]!.name}`;
      putNumbers(arrayOf(list[agent], size, name), into, at, name);
      at += size;
    }
  }
}

function putNumbers(list: readonly unknown[], into: Float64Array, at: number, where: string): void {
  for (let k = 0; k < list.length; k++) {
    const value = list[k];
    into[at + k] =
      typeof value === "number" ? value : number(typeof value === "boolean" ? Number(value) : value, where);
  }
}

function fromBinary(
  { fields, numbers }: Extract<Body, { kind: "binary" }>,
  envs: number,
  layout: Layout,
): AnswerArrays {
  const listed = fields["arrays"];
  if (!Array.isArray(listed)) throw wrong("arrays of the header", "an array of names", listed);
  const names = listed.map(knownName);
  if (new Set(names).size !== names.length) throw wrong("arrays of the header", "names that differ", names);
  const sizes = names.map((name) => envs * (RULES[name].rows(layout)?.total ?? 0));
  const expected = 4 * sizes.reduce((sum, size) => sum + size, 0);
  if (numbers.length !== expected) {
    const what = names.map((name, index) => `${name} ${sizes[index]}`).join(", ");
    throw shape(
      "numbers after the header",
      `${expected} bytes of float32 (${what})`,
      `${numbers.length} bytes`,
    );
  }
  const answer: AnswerArrays = {};
  // Copied: the header leaves the numbers unaligned, and the request's memory is not kept.
  const all = new Float32Array(numbers.buffer.slice(numbers.byteOffset, numbers.byteOffset + expected));
  for (let index = 0, at = 0; index < names.length; index++) {
    const size = sizes[index]!;
    if (size > 0) answer[names[index]!] = all.subarray(at, at + size);
    at += size;
  }
  return answer;
}

function checkPresence(answer: AnswerArrays, name: ArrayName, kind: CommandKind, layout: Layout): void {
  const rule: ArrayRule = RULES[name];
  if (answer[name] !== undefined || rule.rows(layout) === undefined || rule.of === "optional") return;
  if (rule.of === "step" && kind === "reset") return;
  if (rule.of === "ended" && !(answer.terminated?.includes(1) || answer.truncated?.includes(1))) return;
  if (rule.of === "ended" && kind === "reset") return;
  const why = rule.of === "ended" ? "an episode ended" : `the answer to ${kind} needs it`;
  throw wrong(name, `an entry for every environment: ${why}`, "nothing");
}

/** Flags are 0 or 1; other numbers finite as float32; of ended episodes alone where that is what the array is of. */
function checkValues(answer: AnswerArrays, name: ArrayName, envs: number, layout: Layout): void {
  const numbers = answer[name];
  const rule: ArrayRule = RULES[name];
  const rows = rule.rows(layout);
  if (numbers === undefined || rows === undefined) return;
  const flags = rule.values === "flags";
  for (let i = 0; i < envs; i++) {
    if (rule.of === "ended" && !ended(answer, i)) continue;
    for (let at = i * rows.total; at < (i + 1) * rows.total; at++) {
      const value = numbers[at]!;
      if (flags ? value === 0 || value === 1 : Number.isFinite(Math.fround(value))) continue;
      const where = locate(name, i, at - i * rows.total, rows, layout);
      if (flags) throw wrong(where, "0 or 1", value);
      throw new LorasaError("LORASA_NOT_FINITE", {
        asked: where,
        expected: "a finite number",
        received: rule.of === "ended" && Number.isNaN(value) ? "none, and its episode ended" : `${value}`,
      });
    }
  }
}

/** An agent whose mask is all zeros could do nothing at all. */
function checkChoices(answer: AnswerArrays, envs: number, { actionMask, spec }: Layout): void {
  const mask = answer.action_mask;
  if (mask === undefined) return;
  for (let row = 0, at = 0; row < envs * spec.agents.length; row++) {
    const agent = row % spec.agents.length;
    const end = at + actionMask.sizes[agent]!;
    let choices = 0;
    for (; at < end; at++) choices += mask[at]!;
    if (choices > 0) continue;
    const environment = Math.floor(row / spec.agents.length);
    throw wrong(
      `action_mask of environment ${environment}, agent ${spec.agents[agent]!.name}`,
      "at least one choice, for inactive agents too",
      "none",
    );
  }
}

/** Which number it is, in words. */
function locate(name: ArrayName, i: number, at: number, { sizes }: Rows, { spec }: Layout): string {
  let agent = 0;
  let rest = at;
  while (rest >= sizes[agent]!) rest -= sizes[agent++]!;
  const of = sizes.length === spec.agents.length ? `, agent ${spec.agents[agent]!.name}` : "";
  return `${name} of environment ${i}${of}, number ${rest}`;
}

function figureRows({ spec }: Layout): Rows | undefined {
  const total = spec.episodeFigures.length;
  return total === 0 ? undefined : { sizes: [total], width: total, total };
}

function knownName(field: unknown): ArrayName {
  const name = NAMES.find((each) => each === field);
  if (name === undefined) throw wrong("answer", `sequence, ${NAMES.join(", ")}`, field);
  return name;
}

function arrayOf(input: unknown, length: number, where: string): readonly unknown[] {
  if (Array.isArray(input) && input.length === length) return input;
  throw shape(
    where,
    `an array of ${length}`,
    Array.isArray(input) ? `one of ${input.length}` : input === null ? "null" : typeof input,
  );
}

function number(input: unknown, where: string): number {
  if (typeof input === "number") return input;
  throw wrong(where, "a number", input === undefined ? "nothing" : input);
}

function shape(asked: string, expected: string, received: string): LorasaError {
  return new LorasaError("LORASA_SHAPE", { asked, expected, received });
}

function parseJson(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString("utf8"));
  } catch {
    throw wrong("body", "JSON (which has no NaN and no Infinity)", "something else");
  }
}
