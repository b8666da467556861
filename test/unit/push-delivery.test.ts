/** One team on its way to a server: what is asked before, what is sent, and what each answer of the server means. */
import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { Worker } from "node:worker_threads";
import { agentAdapter, type Team } from "../../models/team.ts";
import { ServerClient } from "../../server/client.ts";
import { sha256 } from "../../src/base/files.ts";
import { CONFIG_FILE, encodeAdapter, TENSORS_FILE } from "../../src/checkpoint/peft.ts";
import { deliver, type PushOutcome, type TeamPush } from "../../src/cli/push/delivery.ts";
import { threadSender } from "../../src/cli/push/thread-sender.ts";
import {
  answerJson,
  type FakeAnswer,
  type FakeRequest,
  fakeServer,
  freePort,
} from "../helpers/fake-server.ts";
import { randomTeam } from "../helpers/team.ts";

const BACKBONE = sha256("backbone");

function teamPush(team: Team = randomTeam(), backboneSha256 = BACKBONE): TeamPush {
  const adapters = team.agents.map(
    ({ name }, agent) => [name, { backboneSha256, layers: agentAdapter(team, agent) }] as const,
  );
  return { adapters: Object.fromEntries(adapters), files: { rank: 2, alpha: 3 } };
}

interface Served {
  readonly mode?: string;
  readonly backbone?: string;
  readonly agents?: string;
  readonly team?: Team;
  /** Answers a load in place of the usual version. */
  readonly load?: FakeAnswer;
}

/** A server of the random team. */
function served({
  mode = "factored",
  backbone = BACKBONE,
  agents,
  team = randomTeam(),
  load,
}: Served = {}): FakeAnswer {
  let loads = 0;
  return (request, response, index) => {
    const { path } = request;
    if (path.endsWith("/load")) {
      loads += 1;
      if (load) load(request, response, loads - 1);
      else answerJson(response, { name: "any", version: `${loads}`, state: "READY" });
    } else if (path.includes("/adapters/")) {
      const layers = agentAdapter(team, 0).map(({ loraA: _, loraB: __, ...layer }) => layer);
      answerJson(response, { name: "agent_0", version: "1", state: "READY", layers });
    } else {
      const properties = {
        "lorasa.mode": mode,
        "lorasa.backbone_sha256": backbone,
        "lorasa.agents": agents ?? team.agents.map(({ name }) => name).join(","),
      };
      answerJson(response, { name: "team", properties, index });
    }
  };
}

async function delivered(
  context: TestContext,
  answer: FakeAnswer,
  push: TeamPush,
  retries = 0,
): Promise<{ outcome: PushOutcome; loads: FakeRequest[] }> {
  const { url, requests } = await fakeServer(context, answer);
  const client = new ServerClient(url, { retries });
  context.after(() => client.close());
  const outcome = await deliver(client, "team", push);
  return { outcome, loads: requests.filter(({ path }) => path.endsWith("/load")) };
}

test("a team that fits goes agent by agent, as the bytes that its checkpoint would have", async (context) => {
  const push = teamPush();
  const { outcome, loads } = await delivered(context, served(), push);
  assert.deepEqual(outcome, { kind: "pushed", versions: { agent_0: "1", agent_1: "2", agent_2: "3" } });
  for (const [index, [name, adapter]] of Object.entries(push.adapters).entries()) {
    const { path, headers, body } = loads[index]!;
    assert.equal(path, `/v2/repository/models/team/adapters/${name}/load`);
    const length = Number(headers["inference-header-content-length"]);
    const files = encodeAdapter(adapter, push.files);
    assert.equal(sha256(body.subarray(length)), sha256(files[TENSORS_FILE]!));
    const { parameters } = JSON.parse(body.toString("utf8", 0, length));
    assert.equal(parameters.config, Buffer.from(files[CONFIG_FILE]!).toString());
    assert.equal(parameters.load_inplace, true);
  }
});

const OTHER = randomTeam({ rank: 3 });

/** Models that the team does not fit: nothing may be sent to them. */
const UNFIT: Readonly<Record<string, readonly [Served, RegExp]>> = {
  "another backbone": [
    { backbone: sha256("other") },
    /adapter agent_0: expected the backbone that team is served with, [0-9a-f]{12}…, received [0-9a-f]{12}…/,
  ],
  "a merged model": [
    { mode: "merged" },
    /expected a factored model, received a merged one; .*--mode factored/,
  ],
  "other agents": [{ agents: "left,right" }, /adapter agent_0 of team: .*known: left, right/],
  "another rank": [{ team: OTHER }, /layer .*, rank: expected 3, received 2/],
};

for (const [what, [model, message]] of Object.entries(UNFIT)) {
  test(`${what} is unfit, and nothing is sent`, async (context) => {
    const { outcome, loads } = await delivered(context, served(model), teamPush());
    assert.equal(outcome.kind, "unfit");
    assert.match(outcome.kind === "unfit" ? outcome.problem : "", message);
    assert.equal(loads.length, 0);
  });
}

test("numbers that diverged are not sent", async (context) => {
  const team = randomTeam();
  team.adapters!.fill(Number.NaN);
  const { outcome, loads } = await delivered(context, served(), teamPush(team));
  assert.equal(outcome.kind, "rejected");
  assert.equal(loads.length, 0);
});

const refuse =
  (status: number): FakeAnswer =>
  (_request, response) =>
    answerJson(response, { error: "no" }, status, { "Retry-After": "0" });

const lost: FakeAnswer = (_request, response) => response.destroy();

const REFUSALS: readonly (readonly [string, FakeAnswer, PushOutcome["kind"]])[] = [
  ["an unknown model", refuse(404), "rejected"],
  ["no token", served({ load: refuse(401) }), "rejected"],
  ["a full disk", served({ load: refuse(500) }), "rejected"],
  ["a busy server", refuse(503), "away"],
  ["a lost connection", served({ load: lost }), "away"],
  ["a server of something else", (_request, response) => response.end("hello"), "away"],
];

for (const [what, answer, kind] of REFUSALS) {
  test(`${what} is ${kind}`, async (context) => {
    assert.equal((await delivered(context, answer, teamPush())).outcome.kind, kind);
  });
}

test("a server that is busy and then loses a connection is asked again", async (context) => {
  const load: FakeAnswer = (request, response, index) => {
    if (index === 0) refuse(503)(request, response, index);
    else if (index === 1) lost(request, response, index);
    else answerJson(response, { name: "any", version: "4", state: "READY" });
  };
  const { outcome, loads } = await delivered(context, served({ load }), teamPush(), 2);
  assert.deepEqual(outcome, { kind: "pushed", versions: { agent_0: "4", agent_1: "4", agent_2: "4" } });
  assert.equal(loads.length, 5);
});

test("a thread that cannot start, or ends, is a failed push and not a crash; the next one starts anew", async (context) => {
  const sender = threadSender({ url: "nonsense", model: "team" });
  context.after(() => sender.close());
  for (const _ of [1, 2]) {
    const outcome = await sender.send(teamPush());
    assert.equal(outcome.kind, "rejected");
    assert.match(outcome.kind === "rejected" ? outcome.problem : "", /expected an address such as/);
  }
});

test("a server that is away is waited for in the thread, and then told", async (context) => {
  const sender = threadSender({ url: `http://127.0.0.1:${await freePort()}`, model: "team" });
  context.after(() => sender.close());
  const outcome = await sender.send(teamPush());
  assert.equal(outcome.kind, "away");
  assert.match(outcome.kind === "away" ? outcome.problem : "", /nothing listening there/);
});

/** Answers as `served` does, in a thread of its own: the test's own is held up on purpose. */
const SERVER_THREAD = `
  const { createServer } = require("node:http");
  const { parentPort, workerData } = require("node:worker_threads");
  const server = createServer((request, response) => {
    request.resume();
    request.on("end", () => response.end(request.url.includes("/adapters/")
      ? JSON.stringify({ name: "any", version: "1", state: "READY" })
      : JSON.stringify({ properties: workerData })));
  });
  server.listen(0, "127.0.0.1", () => parentPort.postMessage(server.address().port));`;

test("a rollout that holds the event loop for longer than the server is waited for loses no push", async (context) => {
  const properties = { "lorasa.mode": "factored", "lorasa.backbone_sha256": "", "lorasa.agents": "" };
  const server = new Worker(SERVER_THREAD, { eval: true, workerData: properties });
  context.after(() => server.terminate());
  const port = await new Promise<number>((resolve) => server.once("message", resolve));
  const sender = threadSender({ url: `http://127.0.0.1:${port}`, model: "team", timeoutMs: 300 });
  context.after(() => sender.close());
  assert.equal((await sender.send(teamPush())).kind, "pushed");
  const second = sender.send(teamPush());
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 700);
  assert.equal((await second).kind, "pushed");
});
