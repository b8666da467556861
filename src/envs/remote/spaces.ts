/** What a simulator says of its task when it registers, checked and made an `EnvSpec`. Not who may register when. */
import { LorasaError } from "../../base/errors.ts";
import type { ActionSpace, AgentSpec, EnvSpec } from "../contract.ts";

/** Version of the protocol that simulators speak. */
export const PROTOCOL = 1;

/** Limits on what a simulator may ask for: memory is taken for it. */
const MAX_AGENTS = 1024;
const MAX_SIZE = 1_000_000;
const MAX_FIGURES = 64;
const MAX_ENVIRONMENTS = 65_536;
const MAX_EPISODE = 1_000_000_000;
/** Characters of what a client sent that are repeated to it. */
const SHOWN = 100;

const FIELDS = [
  "protocol",
  "task",
  "agents",
  "state",
  "state_per_agent",
  "episode_limit",
  "step_seconds",
  "figures",
  "environments",
];

/** A registration that was read. */
export interface Registration {
  readonly spec: EnvSpec;
  /** The state is not sent: it is the observations of all agents, one after another. */
  readonly concatenates: boolean;
  /** How many environments the simulator runs at most. */
  readonly environments: number;
}

/** @throws LORASA_REQUEST naming the field, what it takes and what was given. */
export function parseRegistration(body: unknown): Registration {
  const fields = record(body, "registration");
  for (const name of Object.keys(fields)) {
    if (!FIELDS.includes(name)) throw wrong(`registration, ${name}`, `one of ${FIELDS.join(", ")}`, "it");
  }
  if (fields["protocol"] !== PROTOCOL) throw wrong("protocol", `${PROTOCOL}`, fields["protocol"]);
  const task = text("task", fields["task"], /^[\w.+/?=&:-]{1,200}$/);
  const list = array("agents", fields["agents"], 1, MAX_AGENTS);
  const parsed = list.map((agent, index) => parseAgent(agent, `agents[${index}]`));
  unique(
    "agents",
    parsed.map(({ agent }) => agent.name),
  );
  const agents = parsed.map(({ agent }) => agent);
  const { size, concatenates } = parseState(fields["state"] ?? "observations", agents);
  const perAgent = optional(fields["state_per_agent"], false);
  if (typeof perAgent !== "boolean") throw wrong("state_per_agent", "true or false", perAgent);
  if (perAgent && concatenates) throw wrong("state_per_agent", "false without a state of its own", true);
  const spec: EnvSpec = {
    name: `remote/${task}`,
    agents,
    observationSize: Math.max(...agents.map(({ observationSize }) => observationSize)),
    stateSize: size,
    statePerAgent: perAgent,
    actionSpace: teamActions(parsed.map(({ space }) => space)),
    episodeLimit: whole("episode_limit", fields["episode_limit"], 1, MAX_EPISODE),
    stepSeconds: positive("step_seconds", optional(fields["step_seconds"], 1)),
    episodeFigures: parseFigures(optional(fields["figures"], [])),
  };
  return {
    spec,
    concatenates,
    environments: whole("environments", optional(fields["environments"], 1), 1, MAX_ENVIRONMENTS),
  };
}

function parseAgent(input: unknown, where: string): { agent: AgentSpec; space: ActionSpace } {
  const fields = record(input, where);
  const name = text(`${where}.name`, fields["name"], /^[\w.-]{1,100}$/);
  const observationSize = whole(`${where}.observation`, fields["observation"], 1, MAX_SIZE);
  const space = parseActions(fields["action"], `${where}.action`);
  const type = fields["type"];
  const agent = {
    name,
    observationSize,
    actionSize: space.kind === "discrete" ? space.count : space.size,
    ...(type !== undefined && { type: text(`${where}.type`, type, /^[\w.-]{1,100}$/) }),
  };
  return { agent, space };
}

function parseActions(input: unknown, where: string): ActionSpace {
  const { discrete, continuous, low = -1, high = 1 } = record(input, where);
  if ((discrete === undefined) === (continuous === undefined)) {
    throw wrong(where, '{"discrete": choices} or {"continuous": numbers, "low": …, "high": …}', input);
  }
  if (discrete !== undefined)
    return { kind: "discrete", count: whole(`${where}.discrete`, discrete, 1, MAX_SIZE) };
  const size = whole(`${where}.continuous`, continuous, 1, MAX_SIZE);
  if (!finite(low) || !finite(high) || low >= high)
    throw wrong(where, "low below high, both finite", { low, high });
  return { kind: "continuous", size, low, high };
}

/** One space for the team, as long as the longest. */
function teamActions(spaces: readonly ActionSpace[]): ActionSpace {
  const [first] = spaces as readonly [ActionSpace];
  for (const [index, space] of spaces.entries()) {
    if (bounds(space) !== bounds(first))
      throw wrong(
        `agents[${index}].action`,
        `${bounds(first)} as the first agent's; map the others to them in the simulator`,
        bounds(space),
      );
  }
  const longest = Math.max(...spaces.map((space) => (space.kind === "discrete" ? space.count : space.size)));
  return first.kind === "discrete" ? { kind: "discrete", count: longest } : { ...first, size: longest };
}

function bounds(space: ActionSpace): string {
  return space.kind === "discrete" ? "discrete" : `continuous from ${space.low} to ${space.high}`;
}

function parseState(
  input: unknown,
  agents: readonly AgentSpec[],
): { readonly size: number; readonly concatenates: boolean } {
  if (input !== "observations") return { size: whole("state", input, 1, MAX_SIZE), concatenates: false };
  return { size: agents.reduce((sum, agent) => sum + agent.observationSize, 0), concatenates: true };
}

function parseFigures(input: unknown): string[] {
  const names = array("figures", input, 0, MAX_FIGURES).map((name, index) =>
    text(`figures[${index}]`, name, /^[A-Za-z][\w-]{0,60}$/),
  );
  unique("figures", names);
  return names;
}

/** An object; also what a JSON body must be before its fields are read. @throws LORASA_REQUEST. */
export function record(input: unknown, where: string): Readonly<Record<string, unknown>> {
  if (typeof input !== "object" || input === null || Array.isArray(input))
    throw wrong(where, "an object", input);
  return input as Readonly<Record<string, unknown>>;
}

function array(where: string, input: unknown, least: number, most: number): readonly unknown[] {
  if (Array.isArray(input) && input.length >= least && input.length <= most) return input;
  throw wrong(
    where,
    `an array of ${least} to ${most}`,
    Array.isArray(input) ? `one of ${input.length}` : input,
  );
}

/** A whole number in a range. @throws LORASA_REQUEST. */
export function whole(where: string, input: unknown, low: number, high: number): number {
  if (typeof input === "number" && Number.isInteger(input) && input >= low && input <= high) return input;
  throw wrong(where, `a whole number from ${low} to ${high}`, input);
}

function positive(where: string, input: unknown): number {
  if (finite(input) && input > 0) return input;
  throw wrong(where, "a number above 0", input);
}

function text(where: string, input: unknown, form: RegExp): string {
  if (typeof input === "string" && form.test(input)) return input;
  throw wrong(where, `text of the form ${form.source}`, input);
}

function unique(where: string, names: readonly string[]): void {
  const twice = names.find((name, index) => names.indexOf(name) !== index);
  if (twice !== undefined) throw wrong(where, "names that differ", `${twice} twice`);
}

function finite(input: unknown): input is number {
  return typeof input === "number" && Number.isFinite(input);
}

function optional(input: unknown, initial: unknown): unknown {
  return input === undefined ? initial : input;
}

/** What was given is shown short and in one line: a client may send anything. */
export function wrong(asked: string, expected: string, received: unknown): LorasaError {
  return new LorasaError("LORASA_REQUEST", {
    asked: short(asked),
    expected,
    received: short(shown(received)),
  });
}

/** A client's JSON may be nested deeper than the stack, or longer than a string may be. */
function shown(received: unknown): string {
  if (typeof received === "string") return received;
  try {
    return JSON.stringify(received) ?? "nothing";
  } catch {
    return "a value too deep or too long to show";
  }
}

function short(text: string): string {
  const line = text.slice(0, SHOWN).replace(/\p{Cc}/gu, " ");
  return text.length > SHOWN ? `${line}…` : line;
}
