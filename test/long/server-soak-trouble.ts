/** What the soak does to the server beside asking: swaps, models that come and go, mistakes, broken connections. */
import { setTimeout as pause } from "node:timers/promises";
import { Connection } from "../bench/load/connection.ts";
import { Caller, type WholeReply } from "../bench/load/exchange.ts";
import { binaryRequest, httpGet, httpPost, pushRequest } from "../bench/load/requests.ts";
import { askSpare, checkFixed, type Step } from "./server-soak-asks.ts";
import { ownObservation, SETS, SPARE, SWAPPED, TOKEN, VARIANTS, type World } from "./server-soak-world.ts";

const MANAGE = { Authorization: `Bearer ${TOKEN}` };
/** Names that variants of an agent take in turn. */
const NAMES = 64;
const CUT_WITHIN_MS = 3;
const ROLLBACK_EVERY = 8;

/** Another adapter for an agent: a new one, or now and then the one before. */
export const swap: Step = async ({ world, random, wrong }, caller) => {
  const { versions, agents, adapters } = world;
  const agent = random.integer(agents.length);
  const name = agents[agent]!;
  // The version before is the one that the current one replaced; version 1 replaced none.
  const before = versions.variant(agent, versions.acknowledged[agent]! - 1);
  const back = before !== undefined && !Number.isNaN(before) && random.integer(ROLLBACK_EVERY) === 0;
  const variant = back ? before : random.integer(VARIANTS);
  versions.begin(agent, variant);
  const bytes = back
    ? httpPost(`/v2/repository/models/${SWAPPED}/adapters/${name}/rollback`, Buffer.alloc(0), MANAGE)
    : pushRequest({ model: SWAPPED, adapter: name, token: TOKEN, ...adapters[agent]![variant]! });
  const { status, text } = await caller.ask(bytes);
  const { version } = JSON.parse(text) as { version?: string };
  if (status !== 200 || !versions.acknowledge(agent, Number(version))) wrong(`${status} ${text}`);
};

/** Pushes an adapter under a name of its own, asks for it, and unloads it. */
export const pushVariant: Step = async (actor, caller) => {
  const { world, random, wrong } = actor;
  const [set, agent, variant] = [random.integer(SETS), 1, random.integer(VARIANTS)];
  const name = `${world.agents[agent]}.soak_${random.integer(NAMES)}`;
  const files = world.adapters[agent]![variant]!;
  const pushed = await caller.ask(pushRequest({ model: SWAPPED, adapter: name, token: TOKEN, ...files }));
  if (pushed.status !== 200) wrong(`push of ${name}: ${pushed.status} ${pushed.text}`);
  const reply = await caller.ask(
    binaryRequest(`${SWAPPED}.${name}`, { obs: ownObservation(world, set, agent) }),
  );
  checkFixed(actor, reply, world.table, [{ set, agent }], variant);
  const path = `/v2/repository/models/${SWAPPED}/adapters/${name}/unload`;
  const unloaded = await caller.ask(httpPost(path, Buffer.alloc(0), MANAGE));
  if (unloaded.status !== 200) wrong(`unload of ${name}: ${unloaded.status} ${unloaded.text}`);
};

/** Unloads and loads a model, or loads it again while it is asked. */
export const reload: Step = async (actor, caller) => {
  const manage = async (action: "load" | "unload"): Promise<void> => {
    const reply = await caller.ask(
      httpPost(`/v2/repository/models/${SPARE}/${action}`, Buffer.alloc(0), MANAGE),
    );
    if (reply.status !== 200) actor.wrong(`${action}: ${reply.status} ${reply.text}`);
  };
  if (actor.random.integer(2) === 0) {
    await manage("unload");
    const reply = await caller.ask(binaryRequest(SPARE, { obs: actor.world.sets[0]! }));
    if (reply.status === 200) actor.wrong("an unloaded model answers");
    await manage("load");
    await askSpare(actor, caller);
    return;
  }
  const other = new Caller(actor.world.port);
  let done = false;
  const loading = manage("load").finally(() => {
    done = true;
  });
  while (!done) await askSpare(actor, other);
  await loading;
  other.close();
};

/** Mistakes, each with the status that it must get. */
export const mistake: Step = async ({ world, random, wrong }, caller) => {
  const { what, status, bytes } = MISTAKES[random.integer(MISTAKES.length)]!;
  const reply = await caller.ask(bytes(world));
  if (reply.status !== status || !saysWhy(reply))
    wrong(`${what}: ${reply.status} ${reply.text.slice(0, 300)}`);
};

/** Goes away in the middle of a request, or of its answer. */
export const cut: Step = async ({ world, random }) => {
  const whole = random.integer(2) === 0;
  const request = binaryRequest(SWAPPED, { obs: world.sets[0]! });
  // A push is never whole: nobody would know whether it was taken.
  const files = world.adapters[0]![0]!;
  const push = pushRequest({ model: SWAPPED, adapter: world.agents[0]!, token: TOKEN, ...files });
  const part = random.integer(2) === 0 ? request : push;
  const connection = new Connection(world.port, { reply: () => {}, lost: () => {} });
  await connection.opened();
  connection.send(whole ? request : part.subarray(0, random.integer(part.length)));
  await pause(random.integer(CUT_WITHIN_MS));
  connection.destroy();
};

/** What operators look at. */
export const poll: Step = async ({ wrong }, caller) => {
  for (const path of ["/metrics", "/v2/health/live", "/v2/health/ready", `/v2/models/${SWAPPED}`, "/"]) {
    const { status, text } = await caller.ask(httpGet(path));
    if (status !== 200) wrong(`GET ${path}: ${status} ${text.slice(0, 300)}`);
  }
};

/** An error is told in JSON, in one line, and without where in the server it came from. */
function saysWhy({ text }: WholeReply): boolean {
  const { error } = JSON.parse(text) as { error?: unknown };
  return typeof error === "string" && !/\n|\.ts\b|node_modules/.test(error);
}

interface Mistake {
  readonly what: string;
  readonly status: number;
  readonly bytes: (world: World) => Buffer;
}

const INFER = `/v2/models/${SWAPPED}/infer`;
const PUSH = `/v2/repository/models/${SWAPPED}/adapters/agent_0/load`;

const MISTAKES: readonly Mistake[] = [
  { what: "not JSON", status: 400, bytes: () => httpPost(INFER, Buffer.from('{"inputs":')) },
  { what: "no inputs", status: 400, bytes: () => httpPost(INFER, Buffer.from("{}")) },
  { what: "unknown route", status: 404, bytes: () => httpGet("/v3/models") },
  { what: "wrong verb", status: 405, bytes: () => httpGet(INFER) },
  { what: "unknown model", status: 404, bytes: ({ sets }) => binaryRequest("nobody", { obs: sets[0]! }) },
  {
    what: "unknown adapter",
    status: 404,
    bytes: (world) => binaryRequest(`${SWAPPED}.agent_0.nobody`, { obs: ownObservation(world, 0, 0) }),
  },
  {
    what: "wrong shape",
    status: 400,
    bytes: ({ sets }) => binaryRequest(SWAPPED, { obs: { ...sets[0]!, dims: [2, 4, sets[0]!.dims[2]!] } }),
  },
  {
    what: "not finite",
    status: 400,
    bytes: ({ sets }) =>
      binaryRequest(SWAPPED, { obs: { ...sets[0]!, data: sets[0]!.data.map(() => Number.NaN) } }),
  },
  {
    what: "JSON longer than the body",
    status: 400,
    bytes: () => httpPost(INFER, Buffer.from("{}"), { "Inference-Header-Content-Length": "3" }),
  },
  {
    what: "push without the token",
    status: 401,
    bytes: ({ adapters }) =>
      pushRequest({ model: SWAPPED, adapter: "agent_0", token: "x", ...adapters[0]![0]! }),
  },
  {
    what: "push of half an adapter",
    status: 400,
    bytes: ({ adapters }) => {
      const { config, tensors } = adapters[0]![0]!;
      const half = tensors.subarray(0, tensors.length / 2);
      return pushRequest({ model: SWAPPED, adapter: "agent_0", token: TOKEN, config, tensors: half });
    },
  },
  {
    what: "push of no adapter",
    status: 400,
    bytes: () => httpPost(PUSH, Buffer.from('{"parameters":{}}'), MANAGE),
  },
];
