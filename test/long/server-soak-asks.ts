/** What the soak asks that must be answered rightly: each kind one request, or one whole sequence. Not who asks when. */
import { floatTensor } from "../../src/base/tensor.ts";
import { type ActionTable, isAction } from "../bench/load/action-table.ts";
import type { RawReply } from "../bench/load/connection.ts";
import type { Caller } from "../bench/load/exchange.ts";
import { readInference } from "../bench/load/reply.ts";
import { type AskedRow, ReplyCheck } from "../bench/load/reply-check.ts";
import { binaryRequest, jsonRequest, type RequestInputs } from "../bench/load/requests.ts";
import { type Actor, ownObservation, RECURRENT, SETS, SPARE, STEPS, SWAPPED } from "./server-soak-world.ts";

/** One request, or what belongs together. */
export type Step = (actor: Actor, caller: Caller) => Promise<void>;

const TAGGED_ROWS = 16;
/** So that ids of actors do not meet. */
const SEQUENCE_IDS = 2 ** 40;

/** A team request as JSON or with binary tensors. */
export function askTeam(write: typeof binaryRequest | typeof jsonRequest): Step {
  return async (actor, caller) => {
    const set = actor.random.integer(SETS);
    const rows = actor.world.agents.map((_, agent) => ({ set, agent }));
    await askSwapped(actor, caller, rows, write(SWAPPED, { obs: actor.world.sets[set]! }));
  };
}

/** One agent under its own name. */
export const askAgent: Step = async (actor, caller) => {
  const { world, random } = actor;
  const [set, agent] = [random.integer(SETS), random.integer(world.agents.length)];
  const write = random.integer(2) === 0 ? binaryRequest : jsonRequest;
  const bytes = write(`${SWAPPED}.${world.agents[agent]}`, { obs: ownObservation(world, set, agent) });
  await askSwapped(actor, caller, [{ set, agent }], bytes);
};

/** Rows of any agents in any order. */
export const askTagged: Step = async (actor, caller) => {
  const { world, random } = actor;
  const rows = Array.from({ length: 1 + random.integer(TAGGED_ROWS) }, () => ({
    set: random.integer(SETS),
    agent: random.integer(world.agents.length),
  }));
  const inputs: RequestInputs = {
    obs: stacked(rows.map(({ set, agent }) => ownObservation(world, set, agent).data)),
    agent: { dtype: "int32", dims: [rows.length], data: Int32Array.from(rows, ({ agent }) => agent) },
  };
  await askSwapped(actor, caller, rows, binaryRequest(SWAPPED, inputs));
};

/** A sequence of a random length whose state the server holds; of the team, or of one agent. */
export const askSequence: Step = async (actor, caller) => {
  const { world, random } = actor;
  const [set, agent] = [random.integer(SETS), random.integer(world.agents.length)];
  const whole = random.integer(2) === 0;
  const model = whole ? RECURRENT : `${RECURRENT}.${world.agents[agent]}`;
  const obs = whole ? world.sets[set]! : ownObservation(world, set, agent);
  const rows = whole ? world.agents.map((_, each) => ({ set, agent: each })) : [{ set, agent }];
  const sequence = 1 + Math.floor(random.uniform() * SEQUENCE_IDS);
  const length = 1 + random.integer(STEPS);
  for (let step = 0; step < length; step++) {
    const parameters = {
      sequence_id: sequence,
      sequence_start: step === 0,
      sequence_end: step === length - 1,
    };
    const reply = await caller.ask(binaryRequest(model, { obs }, parameters));
    checkFixed(actor, reply, world.steps, rows, step);
  }
};

/** The model that comes and goes, while it is there. */
export const askSpare: Step = async (actor, caller) => {
  const set = actor.random.integer(SETS);
  const reply = await caller.ask(binaryRequest(SPARE, { obs: actor.world.sets[set]! }));
  const rows = actor.world.agents.map((_, agent) => ({ set, agent }));
  checkFixed(actor, reply, actor.world.table, rows, 0);
};

/** Against one variant of a table, whatever versions the reply names. */
export function checkFixed(
  actor: Actor,
  reply: RawReply,
  table: ActionTable,
  rows: readonly AskedRow[],
  variant: number,
): void {
  if (reply.status !== 200) {
    actor.wrong(`${reply.status}: ${reply.body.toString("utf8", 0, 300)}`);
    return;
  }
  const actions = readInference(reply).outputs.get("action") ?? [];
  for (const [row, { set, agent }] of rows.entries()) {
    if (isAction(table, { set, variant, agent }, actions, row * table.actions)) continue;
    actor.wrong(`agent ${agent} acts otherwise than ${variant} of set ${set}`);
    return;
  }
}

async function askSwapped(
  actor: Actor,
  caller: Caller,
  rows: readonly AskedRow[],
  bytes: Buffer,
): Promise<void> {
  const { table, versions } = actor.world;
  const sentAfter = versions.acknowledged.slice();
  const reply = await caller.ask(bytes);
  const check = new ReplyCheck(table, versions);
  check.check(reply, rows, sentAfter);
  if (check.wrong.first !== "") actor.wrong(check.wrong.first);
}

function stacked(rows: readonly Float32Array[]) {
  const all = floatTensor([rows.length, rows[0]!.length]);
  for (const [at, row] of rows.entries()) all.data.set(row, at * row.length);
  return all;
}
