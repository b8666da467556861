/** Which of a run's adapters are pushed, and when: decided without a server, by what the sender is handed. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { agentAdapter, fileTensors, type Team } from "../../models/team.ts";
import { backboneIdentity } from "../../src/checkpoint/checkpoint.ts";
import type { PushOutcome, TeamPush } from "../../src/cli/push/delivery.ts";
import { AdapterPusher, type PusherOptions } from "../../src/cli/push/pusher.ts";
import { randomTeam } from "../helpers/team.ts";

const PUSHED: PushOutcome = { kind: "pushed", versions: { agent_0: "2" } };
const AWAY: PushOutcome = { kind: "away", problem: "nothing listening there" };

/** A pusher whose sends wait until the test settles them, and what it was told. */
class Stage {
  readonly team = randomTeam();
  readonly sent: TeamPush[] = [];
  readonly problems: string[] = [];
  readonly pusher: AdapterPusher;
  readonly #waiting: ((outcome: PushOutcome) => void)[] = [];

  constructor(options: Partial<PusherOptions> = {}) {
    const sender = {
      send: (push: TeamPush): Promise<PushOutcome> => {
        this.sent.push(push);
        return new Promise((resolve) => this.#waiting.push(resolve));
      },
      close: async (): Promise<void> => {},
    };
    const onProblem = ({ kind }: PushOutcome): unknown => this.problems.push(kind);
    this.pusher = new AdapterPusher({
      sender,
      every: 100,
      steps: 1000,
      always: false,
      onProblem,
      ...options,
    });
  }

  offer(envSteps: number, meanReturn: number | null): void {
    this.pusher.offer(this.team, { envSteps, meanReturn });
  }

  /** Settles the oldest send and lets what follows from it happen. */
  async settle(outcome: PushOutcome = PUSHED): Promise<void> {
    this.#waiting.shift()!(outcome);
    await new Promise((resolve) => setImmediate(resolve));
  }

  /** Offers and settles at once; whether it was sent. */
  async push(envSteps: number, meanReturn: number | null, outcome: PushOutcome = PUSHED): Promise<boolean> {
    const before = this.sent.length;
    this.offer(envSteps, meanReturn);
    if (this.sent.length === before) return false;
    await this.settle(outcome);
    return true;
  }
}

/** Return at a step, and whether it is sent; in order. */
async function assertSent(
  stage: Stage,
  moments: readonly (readonly [envSteps: number, meanReturn: number | null, sent: boolean])[],
): Promise<void> {
  for (const [envSteps, meanReturn, sent] of moments)
    assert.equal(await stage.push(envSteps, meanReturn), sent, `step ${envSteps}, return ${meanReturn}`);
}

test("the first adapters are sent, then only those that are at least as good, at each multiple of the steps", async () => {
  await assertSent(new Stage(), [
    [130, 5, true],
    [180, 9, false],
    [200, 4, false],
    [299, 9, false],
    [301, 5, true],
    [410, 4.9, false],
    [520, 7, true],
    [650, 6, false],
  ]);
});

test("several multiples in one iteration are one", async () => {
  await assertSent(new Stage({ every: 10 }), [
    [100, 1, true],
    [170, 1, true],
    [175, 1, false],
    [180, 1, true],
  ]);
});

test("the last iteration is looked at wherever it falls", async () => {
  await assertSent(new Stage({ every: 10_000 }), [
    [100, 1, true],
    [900, 2, false],
    [1000, 2, true],
  ]);
});

test("before an episode has ended only the first adapters are sent", async () => {
  await assertSent(new Stage(), [
    [100, null, true],
    [200, null, false],
    [300, -50, true],
    [400, null, false],
    [500, -60, false],
  ]);
});

test("a return that is not a number is never an improvement", async () => {
  await assertSent(new Stage(), [
    [100, 1, true],
    [200, Number.NaN, false],
  ]);
});

test("asked for always, every candidate is sent", async () => {
  await assertSent(new Stage({ always: true }), [
    [100, 5, true],
    [150, 9, false],
    [200, 1, true],
    [300, null, true],
  ]);
});

test("a team without adapters is passed over, and does not count as looked at", async () => {
  const stage = new Stage();
  const shared: Team = randomTeam({ sharing: "shared" });
  stage.pusher.offer(shared, { envSteps: 100, meanReturn: 9 });
  assert.equal(stage.sent.length, 0);
  assert.equal(await stage.push(150, 1), true);
});

test("one push at a time: of those that wait, the newest follows", async () => {
  const stage = new Stage();
  for (const envSteps of [100, 200, 300, 400]) stage.offer(envSteps, envSteps);
  assert.equal(stage.sent.length, 1);
  await stage.settle();
  assert.equal(stage.sent.length, 2);
  await stage.settle();
  const summary = await stage.pusher.finish();
  assert.equal(stage.sent.length, 2);
  assert.equal(summary.pushed, 2);
  assert.equal(summary.superseded, 2);
  assert.equal(summary.envSteps, 400);
});

test("a worse team does not follow a better one that is still under way or waits", async () => {
  const stage = new Stage();
  stage.offer(100, 10);
  stage.offer(200, 9);
  stage.offer(300, 20);
  stage.offer(400, 15);
  await stage.settle();
  await stage.settle();
  const { pushed, superseded, envSteps } = await stage.pusher.finish();
  assert.deepEqual([pushed, superseded, envSteps], [2, 0, 300]);
});

test("what did not arrive does not count as the best sent", async () => {
  const stage = new Stage();
  assert.equal(await stage.push(100, 10), true);
  assert.equal(await stage.push(200, 50, AWAY), true);
  assert.equal(await stage.push(300, 20), true);
  assert.equal(await stage.push(400, 19), false);
});

test("training may change its numbers while they wait to be sent", async () => {
  const stage = new Stage();
  stage.offer(100, 1);
  const expected = stage.team.agents.map((_, agent) =>
    agentAdapter(stage.team, agent).map(({ loraA, loraB }) => [loraA.data.slice(), loraB.data.slice()]),
  );
  stage.offer(200, 2);
  stage.team.adapters!.fill(7);
  await stage.settle();
  for (const push of stage.sent) {
    const numbers = Object.values(push.adapters).map(({ layers }) =>
      layers.map(({ loraA, loraB }) => [loraA.data, loraB.data]),
    );
    assert.deepEqual(numbers, expected);
  }
});

test("every agent's adapter goes under its name, with the backbone's identity and the run's rank and alpha", () => {
  const stage = new Stage();
  stage.offer(100, 1);
  const [{ adapters, files }] = stage.sent as [TeamPush];
  const { parameters, backbone } = stage.team;
  const identity = backboneIdentity(fileTensors(parameters.backbone, backbone));
  assert.deepEqual(Object.keys(adapters), ["agent_0", "agent_1", "agent_2"]);
  assert.deepEqual([...new Set(Object.values(adapters).map((one) => one.backboneSha256))], [identity]);
  assert.deepEqual(files, { rank: 2, alpha: 3, baseModel: "lorasa/test/Random" });
});

test("each kind of failure is told once, and all are counted", async () => {
  const stage = new Stage({ always: true });
  const outcomes: readonly PushOutcome[] = [
    AWAY,
    AWAY,
    { kind: "unfit", problem: "another backbone" },
    { kind: "rejected", problem: "no token" },
    { kind: "unfit", problem: "another backbone still" },
    PUSHED,
    AWAY,
  ];
  for (const [index, outcome] of outcomes.entries()) await stage.push(100 * (index + 1), 1, outcome);
  assert.deepEqual(stage.problems, ["away", "unfit", "rejected"]);
  assert.deepEqual(await stage.pusher.finish(), {
    pushed: 1,
    rejected: 3,
    lost: 3,
    superseded: 0,
    versions: { agent_0: "2" },
    envSteps: 600,
    problem: "nothing listening there",
  });
});

test("the end of a run waits for what is under way and what waits", async () => {
  const stage = new Stage();
  stage.offer(100, 1);
  stage.offer(200, 2);
  const summary = stage.pusher.finish();
  await stage.settle();
  await stage.settle();
  assert.deepEqual(await summary, {
    pushed: 2,
    rejected: 0,
    lost: 0,
    superseded: 0,
    versions: { agent_0: "2" },
    envSteps: 200,
    problem: null,
  });
});

test("a server that never answers does not keep a run from ending", async () => {
  const stage = new Stage();
  stage.offer(100, 1);
  stage.offer(200, 2);
  const { pushed, lost, problem } = await stage.pusher.finish(10);
  assert.deepEqual([pushed, lost], [0, 2]);
  assert.match(problem!, /no answer within 10 ms/);
});

test("a sender that throws is a failed push, never the end of training", async () => {
  const sender = { send: () => Promise.reject(new Error("broken")), close: async () => {} };
  const stage = new Stage({ sender });
  stage.offer(100, 1);
  const { rejected, problem } = await stage.pusher.finish();
  assert.deepEqual([rejected, problem], [1, "broken"]);
});
