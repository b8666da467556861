/** What simulators may not do, who may come in, and that nothing waits for ever: refusals, tokens, notes, signals, closing. */
import assert from "node:assert/strict";
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { test } from "node:test";
import { createEdge } from "../../src/envs/remote/http-edge.ts";
import { createRemoteVectorEnv, type RemoteVectorEnv } from "../../src/envs/remote/remote-vector.ts";
import { assertFails } from "../helpers/fails.ts";
import { exchange } from "../helpers/raw-http.ts";
import { finish, listen, PAIR, Puppet, seen, stepped, until } from "../helpers/remote-listen.ts";
import { packed, RemoteClient } from "../helpers/remote-simulator.ts";

const [left, right] = PAIR.agents as [object, object];

/** Registrations that are refused, each with what its line says. */
const SPACES: Readonly<Record<string, readonly [change: object, message: RegExp]>> = {
  "another protocol": [{ protocol: 2 }, /protocol: expected 1, received 2/],
  "an unknown field": [{ colour: 1 }, /registration, colour: expected one of protocol/],
  "lines in a name": [{ "a\nb": "c\nd" }, /registration, a b: expected one of protocol/],
  "no task": [{ task: "" }, /task: expected text/],
  "no agents": [{ agents: [] }, /agents: expected an array of 1 to 1024, received one of 0/],
  "one name twice": [{ agents: [left, left] }, /agents: expected names that differ, received left twice/],
  "an empty observation": [
    { agents: [{ ...left, observation: 0 }] },
    /agents\[0\]\.observation: expected a whole/,
  ],
  "an action of two kinds": [
    { agents: [{ ...left, action: { discrete: 2, continuous: 1 } }] },
    /agents\[0\]\.action: expected \{"discrete"/,
  ],
  "bounds the wrong way round": [
    { agents: [{ ...left, action: { continuous: 2, low: 1, high: 0 } }] },
    /low below high/,
  ],
  "choices and numbers in one team": [
    { agents: [left, { ...right, action: { continuous: 2 } }] },
    /agents\[1\]\.action: expected discrete as the first agent's.*received continuous from -1 to 1/,
  ],
  "no episode limit": [
    { episode_limit: undefined },
    /episode_limit: expected a whole number.*received nothing/,
  ],
  "no environments": [{ environments: 0 }, /environments: expected a whole number from 1/],
  "a state of each agent that nobody sends": [{ state_per_agent: true }, /state_per_agent: expected false/],
  "more memory than there is": [
    { state: 1_000_000, agents: [{ ...left, observation: 1_000_000 }] },
    /at most \d+ bytes/,
  ],
};

test("spaces that cannot be are refused in one line, and the next simulator decides", async (context) => {
  const { vector, url } = listen(context, { envs: 400, groups: 1 });
  const client = new RemoteClient(await url);
  context.after(() => client.close());
  for (const [name, [change, message]] of Object.entries(SPACES)) {
    const { status, json } = await client.call("/v1/simulators", { ...PAIR, ...change });
    assert.ok(status === 400 || status === 413, `${name}: ${status}`);
    assert.match(json.error, message, name);
    assert.ok(!json.error.includes("\n"), name);
  }
  await Puppet.register(await url, PAIR);
  assert.equal((await vector).spec.name, "remote/test/Pair");
});

test("a simulator of other spaces than the first is refused with what differs", async (context) => {
  const { vector, url } = listen(context, { envs: 2, groups: 1 });
  await Puppet.register(await url, PAIR);
  await vector;
  const client = new RemoteClient(await url);
  context.after(() => client.close());
  const agents = [left, { ...right, observation: 4 }];
  const { status, json } = await client.call("/v1/simulators", { ...PAIR, agents });
  assert.equal(status, 409);
  assert.match(json.error, /agents\[1\]\.observation: expected 3, received 4;/);
  assert.equal((await client.call("/v1/simulators", { ...PAIR, environments: 7 })).status, 201);
});

/** Answers to a step that are refused, each with what its line says. */
const ANSWERS: Readonly<Record<string, readonly [body: object | Buffer, message: RegExp]>> = {
  "no observations": [{ ...stepped(2, 1), observations: undefined }, /observations: expected an entry/],
  "no rewards": [
    { ...stepped(2, 1), rewards: null },
    /rewards: expected an entry .* the answer to act needs it/,
  ],
  "too many environments": [
    { ...stepped(2, 1), rewards: [1, 2] },
    /rewards: expected an array of 1, received one of 2/,
  ],
  "an agent too few": [
    { ...stepped(2, 1), observations: [[[1, 2]]] },
    /observations of environment 0: expected an array of 2/,
  ],
  "a number too many": [
    {
      ...stepped(2, 1),
      observations: [
        [
          [1, 2, 3],
          [1, 2, 3],
        ],
      ],
    },
    /observations of environment 0, agent left: expected an array of 2, received one of 3/,
  ],
  "text for a number": [
    {
      ...stepped(2, 1),
      observations: [
        [
          [1, "2"],
          [1, 2, 3],
        ],
      ],
    },
    /agent left: expected a number, received 2/,
  ],
  "more than float32 holds": [
    {
      ...stepped(2, 1),
      observations: [
        [
          [1, 2],
          [1, 1e300, 3],
        ],
      ],
    },
    /observations of environment 0, agent right, number 1: expected a finite number/,
  ],
  "a reward that is none": [
    { ...stepped(2, 1), rewards: ["much"] },
    /rewards of environment 0: expected a number/,
  ],
  "a mask without a choice": [
    {
      ...stepped(2, 1),
      action_mask: [
        [
          [0, 1],
          [0, 0, 0],
        ],
      ],
    },
    /action_mask of environment 0, agent right: expected at least one choice/,
  ],
  "a mask of halves": [
    {
      ...stepped(2, 1),
      action_mask: [
        [
          [0.5, 1],
          [1, 1, 1],
        ],
      ],
    },
    /action_mask of environment 0, agent left, number 0: expected 0 or 1, received 0\.5/,
  ],
  "an end without last observations": [
    { ...stepped(2, 1), terminated: [true], figures: [{ won: 1 }] },
    /final_observations: expected an entry .* an episode ended/,
  ],
  "an end with null for them": [
    { ...stepped(2, 1), truncated: [true], final_observations: [null], figures: [{ won: 1 }] },
    /final_observations of environment 0, agent left, number 0: expected a finite number, received none/,
  ],
  "an end without its figures": [
    { ...stepped(2, 1), terminated: [true], final_observations: seen(2, 1)["observations"], figures: [{}] },
    /figures of environment 0, won: expected a number, received nothing/,
  ],
  "an unknown array": [{ ...stepped(2, 1), smell: [1] }, /answer: expected sequence, observations/],
  "no sequence": [{ ...stepped(2, 1), sequence: undefined }, /sequence: expected a whole number/],
  "an array": [[1], /body: expected an object/],
  "a binary header longer than the body": [Buffer.from([255, 0, 0, 0, 123]), /body: expected 4 bytes with/],
  "binary numbers that are too few": [packed(2, { observations: [1, 2, 3] }), /expected 20 bytes of float32/],
  "a binary NaN": [
    packed(2, {
      observations: [1, 2, Number.NaN, 1, 1],
      rewards: [1],
      terminated: [0],
      truncated: [0],
    }),
    /observations of environment 0, agent right, number 0: expected a finite number, received NaN/,
  ],
  "binary arrays named twice": [twice(), /arrays of the header: expected names that differ/],
};

test("answers that do not fit are refused in one line and change nothing", async (context) => {
  const { vector, url } = listen(context, { envs: 1, groups: 1 });
  const puppet = await Puppet.register(await url);
  const remote = await vector;
  await Promise.all([puppet.begin(7), remote.begin(5)]);
  const before = [...remote.groups[0]!.observations];
  remote.startStep(0);
  await puppet.next({ sequence: 1 });
  for (const [name, [body, message]] of Object.entries(ANSWERS)) {
    const { status, json } = await puppet.next(body);
    assert.equal(status, 400, `${name}: ${json.error}`);
    assert.match(json.error, message, name);
    assert.ok(!json.error.includes("\n"), name);
    assert.deepEqual([...remote.groups[0]!.observations], before, name);
  }
  puppet.next(stepped(2, 3)).catch(() => {});
  await finish(remote, 0);
  assert.deepEqual([remote.groups[0]!.rewards[0], remote.groups[0]!.episodeLength[0]], [3, 1]);
});

test("requests that are none of the protocol's are refused, bodies beyond the limit before they are read", async (context) => {
  const { vector, url } = listen(context, { envs: 1, groups: 1 });
  const puppet = await Puppet.register(await url);
  await vector;
  const { client } = puppet;
  const asks: readonly [Promise<{ status: number; json: { error: string } }>, number, RegExp][] = [
    [client.call("/v1/other", {}), 400, /route: expected POST \/v1\/simulators/],
    [client.call("/v1/simulators", PAIR, { method: "PUT" }), 400, /received PUT/],
    [
      client.call("/v1/simulators", PAIR, { type: "text/plain" }),
      400,
      /expected application\/json, received text\/plain/,
    ],
    [client.next("7-00000000", { sequence: 0 }), 409, /received an unknown one; register again/],
    [client.next(puppet.name, { sequence: 0, padding: "x".repeat(100_000) }), 413, /at most \d+ bytes/],
    [
      client.call("/v1/simulators", Buffer.from("{]"), { type: "application/json" }),
      400,
      /body: expected JSON/,
    ],
  ];
  for (const [asked, status, message] of asks) {
    const reply = await asked;
    assert.equal(reply.status, status, reply.json.error);
    assert.match(reply.json.error, message);
  }
  const { port } = new URL(await url);
  const head =
    "POST /v1/simulators HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 9000000\r\n\r\n";
  const chunk = "x".repeat(2 ** 20 + 1);
  const chunked = `${head.replace(/content-length.*\r\n/, "transfer-encoding: chunked\r\n")}${chunk.length.toString(16)}\r\n${chunk}\r\n`;
  for (const bytes of [head, chunked]) {
    const { replies, closed } = await exchange(Number(port), bytes, { end: false });
    assert.deepEqual([replies[0]?.status, closed], [413, true]);
  }
  const status = await client.call("/v1/status", undefined, { method: "GET" });
  assert.deepEqual(status.json, {
    protocol: 1,
    task: "remote/test/Pair",
    environments: 1,
    connected: 1,
    simulators: 1,
    in_line: 0,
  });
});

/** Nested deeper than the stack holds. */
const DEEP = `${"[".repeat(200_000)}${"]".repeat(200_000)}`;
/** JSON whose conversion to text or a number throws. */
const HOSTILE = '{"toString":1,"valueOf":1}';

/** Requests that once ended a training: where, what, and what is said of it. */
const FATAL: Readonly<Record<string, readonly [path: "register" | "next", body: string, message: RegExp]>> = {
  "a field of a registration nested without end": [
    "register",
    `{"protocol":1,"task":${DEEP}}`,
    /task: expected text .* received a value too deep/,
  ],
  "a registration nested without end": ["register", DEEP, /body: expected an object, received a value too/],
  "bounds that are no numbers": [
    "register",
    `{"protocol":1,"task":"a","agents":[{"name":"a","observation":1,"action":{"continuous":1,"low":${HOSTILE}}}]}`,
    /low below high, both finite, received \{"low":\{"toString":1/,
  ],
  "bounds nested without end": [
    "register",
    `{"protocol":1,"task":"a","agents":[{"name":"a","observation":1,"action":{"continuous":1,"low":${DEEP}}}]}`,
    /low below high, both finite, received a value too deep/,
  ],
  "a sequence that is no number": ["next", `{"sequence":${HOSTILE}}`, /sequence: expected a whole number/],
  "a sequence nested without end": [
    "next",
    `{"sequence":${"[".repeat(20_000)}${"]".repeat(20_000)}}`,
    /sequence: expected a whole number/,
  ],
  "a reward nested without end": [
    "next",
    `{"sequence":2,"rewards":[${"[".repeat(20_000)}${"]".repeat(20_000)}]}`,
    /rewards of environment 0: expected a number, received (a value too deep|\[\[)/,
  ],
};

test("no request ends a training: paths that are no URL and values that cannot be shown are refused", async (context) => {
  const { vector, url } = listen(context, { envs: 1, groups: 1 });
  const puppet = await Puppet.register(await url);
  const remote = await vector;
  await Promise.all([puppet.begin(7), remote.begin(5)]);
  remote.startStep(0);
  await puppet.next({ sequence: 1 });
  const port = Number(new URL(await url).port);
  for (const target of ["//", "//[", "http://[", "/v1/status%", "*"]) {
    const { replies } = await exchange(
      port,
      `GET ${target} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n`,
    );
    assert.equal(replies[0]?.status, 400, target);
  }
  for (const [name, [path, body, message]] of Object.entries(FATAL)) {
    const asked = path === "register" ? "/v1/simulators" : `/v1/simulators/${puppet.name}/next`;
    const { status, json } = await puppet.client.call(asked, Buffer.from(body), { type: "application/json" });
    assert.equal(status, 400, name);
    assert.match(json.error, message, name);
    assert.ok(json.error.length < 400, `${name}: ${json.error.length} characters`);
  }
  puppet.next(stepped(2, 3)).catch(() => {});
  await finish(remote, 0);
  assert.equal(remote.groups[0]!.rewards[0], 3);
  assert.equal((await puppet.client.call("/v1/status?a=1", undefined, { method: "GET" })).status, 200);
});

test("a fault of the server's own is answered 500 without its message, and told apart from refusals", async (context) => {
  const faults: unknown[] = [];
  const fault = new Error("the reason");
  const fails = (): never => {
    throw fault;
  };
  const routes = { answerLimit: () => 100, status: fails, register: fails, next: fails, leave: fails };
  const server = createEdge({ routes, timeoutMs: 1000, onFault: (error) => faults.push(error) });
  await once(server.listen(0, "127.0.0.1"), "listening");
  // A server that listens on a port has an address of this form.
  const { port } = server.address() as AddressInfo;
  const client = new RemoteClient(`http://127.0.0.1:${port}`);
  context.after(() => {
    client.close();
    server.close();
  });
  const { status, json } = await client.call("/v1/status", undefined, { method: "GET" });
  assert.deepEqual([status, json], [500, { error: "internal error" }]);
  assert.equal((await client.call("/v1/simulators/a/next", { sequence: 0 })).status, 500);
  assert.equal((await client.call("/v1/other", {})).status, 400);
  assert.deepEqual(faults, [fault, fault]);
});

test("with a token, requests without it are refused", async (context) => {
  const { vector, url } = listen(context, { envs: 1, groups: 1, token: "s3cret" });
  for (const token of [undefined, "s3cre", "s3crets"]) {
    const client = new RemoteClient(await url, token);
    const { status, json } = await client.call("/v1/simulators", PAIR);
    assert.deepEqual([status, /LORASA_UNAUTHORIZED/.test(json.error)], [401, true]);
    assert.ok(!json.error.includes("s3cret"), "the token is not told");
    client.close();
  }
  const client = new RemoteClient(await url, "s3cret");
  const { json } = await client.call("/v1/simulators", PAIR);
  assert.equal((await vector).spec.agents.length, 2);
  await client.leave(json.simulator);
  client.close();
});

test("environments without a simulator are noted, and so is that all are there", async (context) => {
  const notes: string[] = [];
  const noted = (wanted: RegExp): Promise<void> =>
    until(() => notes.some((line) => wanted.test(line)), `a note like ${wanted}`);
  const onNote = (line: string): void => void notes.push(line);
  const { vector, url } = listen(context, { envs: 2, groups: 1, noteSeconds: 0.02, onNote });
  await noted(/waiting for a simulator: 0 of 2 environments are connected/);
  await Puppet.register(await url);
  await vector;
  await Puppet.register(await url);
  await noted(/all 2 environments are connected/);
});

test("closing ends a step that waits, tells simulators, and may be done twice", async (context) => {
  const { vector, url } = listen(context, { envs: 1, groups: 1 });
  const puppet = await Puppet.register(await url);
  const remote = await vector;
  await Promise.all([puppet.begin(7), remote.begin(5)]);
  const asks = puppet.next({ sequence: 1 });
  const spare = await Puppet.register(await url);
  const inLine = spare.next({ sequence: 0 });
  remote.startStep(0);
  assert.equal((await asks).json.command, "act");
  const waits = assert.rejects(Promise.resolve(remote.stepped(0)), /closed/);
  const closed = remote.close();
  assert.equal((await inLine).json.command, "close");
  assert.equal((await puppet.next(stepped(2, 1))).json.command, "close");
  await Promise.all([waits, closed, remote.close()]);
  assertFails(() => remote.startStep(0), "LORASA_DISPOSED", /closed/);
  assertFails(() => remote.save(), "LORASA_DISPOSED", /closed/);
});

test("a signal ends the waits for simulators that are not there, and no step of those that are", async (context) => {
  const stop = new AbortController();
  const early = createRemoteVectorEnv({ listen: "127.0.0.1:0", envs: 2, signal: AbortSignal.abort() });
  await assert.rejects(early, { code: "LORASA_CANCELLED" });
  const { vector, url } = listen(context, { envs: 1, groups: 1, signal: stop.signal });
  const puppet = await Puppet.register(await url);
  const remote = await vector;
  await Promise.all([puppet.begin(7), remote.begin(5)]);
  remote.startStep(0);
  await puppet.next({ sequence: 1 });
  stop.abort();
  puppet.next(stepped(2, 3)).catch(() => {});
  await finish(remote, 0);
  assert.equal(remote.groups[0]!.rewards[0], 3);
  await puppet.leave();
  remote.startStep(0);
  await assert.rejects(Promise.resolve(remote.stepped(0)), { code: "LORASA_CANCELLED" });
  assert.equal(remote.save().length, 1);
});

test("saved environments are empty, and restoring starts other episodes unless some have just begun", async (context) => {
  const { vector, url } = listen(context, { envs: 1, groups: 1 });
  const puppet = await Puppet.register(await url);
  const remote: RemoteVectorEnv = await vector;
  const [{ json: first }] = await Promise.all([puppet.begin(7), remote.begin(5)]);
  const saved = remote.save();
  assert.deepEqual(saved, [new Float64Array(0)]);
  remote.restore(saved);
  assertFails(() => remote.restore([Float64Array.of(1)]), "LORASA_SHAPE", /expected 1 empty ones/);
  const again = puppet.next({ sequence: 1 });
  const began = remote.begin(6);
  const { json } = await again;
  assert.equal(json.command, "reset");
  assert.notDeepEqual(json.seeds, first.seeds);
  puppet.next(seen(2, 4)).catch(() => {});
  await began;
  assert.equal(remote.groups[0]!.observations[0], 4);
  assert.equal(remote.groups[0]!.truncated[0], 0);
});

test("an address in use and options out of range are refused before anything waits", async (context) => {
  const { vector, url } = listen(context, { envs: 1, groups: 1 });
  const taken = (await url).replace("http://", "");
  await assert.rejects(createRemoteVectorEnv({ listen: taken, envs: 2 }), { code: "LORASA_PORT" });
  for (const change of [
    { envs: 3 },
    { envs: 0 },
    { listen: "nowhere" },
    { timeoutSeconds: 0 },
    { token: "" },
  ]) {
    const options = { listen: "127.0.0.1:0", envs: 2, ...change };
    await assert.rejects(createRemoteVectorEnv(options), { code: "LORASA_CONFIG" }, JSON.stringify(change));
  }
  await Puppet.register(await url);
  await vector;
});

/** A header that names an array twice. */
function twice(): Buffer {
  const header = Buffer.from('{"sequence":2,"arrays":["rewards","rewards"]}');
  return Buffer.concat([Buffer.from([header.length, 0, 0, 0]), header, Buffer.alloc(8)]);
}
