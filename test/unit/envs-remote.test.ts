/** Environments that simulators run over HTTP: the same trajectories as here, whoever simulates, leaves or takes over. */
import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { makeEnv } from "../../src/envs/registry.ts";
import { createVectorEnv } from "../../src/envs/vector.ts";
import type { EnvGroup, VectorEnv } from "../../src/envs/vector-contract.ts";
import { chase } from "../helpers/chase-task.ts";
import { fakeVectorEnv } from "../helpers/fake-vector-env.ts";
import { finish, listen, PAIR, Puppet, play, seen, stepped, until } from "../helpers/remote-listen.ts";
import { type Simulated, simulate, simulated } from "../helpers/remote-simulator.ts";

const HALF_CHEETAH = "mujoco/HalfCheetah-2x3";

test("a remote MuJoCo task gives the trajectories of the same task here, in JSON and binary", async (context) => {
  const options = { episodeLimit: 7 };
  const here = await createVectorEnv({ name: HALF_CHEETAH, options, envs: 4, threads: 0 });
  here.reset(11);
  const expected = await play(here, 20);
  await here.close();
  for (const binary of [false, true]) {
    const { vector, url } = listen(context, { envs: 4 });
    const envs = await Promise.all(expected.slice(0, 4).map(() => makeEnv(HALF_CHEETAH, options)));
    const done = simulate(await url, envs.map(simulated), { binary });
    const remote = await vector;
    assert.equal(remote.spec.name, `remote/${here.spec.name}`);
    await remote.begin(11);
    remote.reset(11);
    const shown = await play(remote, 20);
    assert.equal(shown.length, expected.length);
    // Rewards travel as float32 in binary, so their sums differ in the last place.
    const exact = (row: Record<string, number[]>): object => ({
      ...row,
      ...(binary && { episodeReturn: [] }),
    });
    assert.deepEqual(shown.map(exact), expected.map(exact));
    await remote.close();
    assert.equal(await done, 80);
    for (const env of envs) env.close();
  }
});

test("two simulators with masks and dead agents give the trajectories of the same task here", async (context) => {
  const here = fakeVectorEnv(chase(true), { envs: 4 });
  here.reset(3);
  const expected = await play(here, 25);
  for (const binary of [false, true]) {
    const { vector, url } = listen(context, { envs: 4 });
    const envs = [0, 1, 2, 3].map((e) =>
      fakeSimulated(fakeVectorEnv(chase(true), { envs: 4, groups: 4 }), e),
    );
    const first = simulate(await url, envs.slice(0, 2), { binary });
    const remote = await vector;
    const second = simulate(await url, envs.slice(2), { binary });
    await remote.begin(3);
    // The helper sums returns in float32.
    const exact = (row: Record<string, number[]>): object => ({ ...row, episodeReturn: [] });
    assert.deepEqual((await play(remote, 25)).map(exact), expected.map(exact));
    await remote.close();
    assert.deepEqual([await first, await second], [50, 50]);
  }
});

test("unequal agents are padded, the state is what all see, a mask that is not sent allows an agent's own choices", async (context) => {
  const { remote, puppet, told } = await started(context);
  const [group] = remote.groups as [EnvGroup];
  assert.deepEqual(told.environments, [0]);
  assert.equal(remote.spec.stateSize, 5);
  assert.deepEqual([...group.observations], [7, 1, 0, 7, 2, 3]);
  assert.deepEqual([...group.state], [7, 1, 7, 2, 3]);
  assert.deepEqual([...group.actionMask], [1, 1, 0, 1, 1, 1]);
  assert.deepEqual([...group.active], [1, 1]);
  group.actions.set([1, 2]);
  remote.startStep(0);
  const { json } = await puppet.next(seen(1, 7));
  assert.deepEqual(json, { sequence: 2, command: "act", environments: [0], actions: [[1, 2]] });
});

test("an end keeps the final observations and the figures, and the next episode is under way", async (context) => {
  const { remote, puppet } = await started(context);
  const [group] = remote.groups as [EnvGroup];
  remote.startStep(0);
  await puppet.next({ sequence: 1 });
  const last = seen(2, 9)["observations"] as number[][][];
  void puppet.next({
    ...stepped(2, 5),
    terminated: [true],
    final_observations: last,
    figures: [{ won: 1 }],
  });
  await finish(remote, 0);
  assert.deepEqual([...group.observations], [5, 1, 0, 5, 2, 3]);
  assert.deepEqual([...group.finalObservations], [9, 1, 0, 9, 2, 3]);
  assert.deepEqual([...group.finalState], [9, 1, 9, 2, 3]);
  assert.deepEqual([group.terminated[0], group.truncated[0], group.figures[0]], [1, 0, 1]);
  assert.deepEqual([group.rewards[0], group.episodeReturn[0], group.episodeLength[0]], [5, 5, 1]);
});

test("a simulator that leaves mid-episode is cut off as by a time limit, and a spare takes over at once", async (context) => {
  const { remote, puppet } = await started(context);
  const [group] = remote.groups as [EnvGroup];
  const spare = await Puppet.register(remote.address);
  assert.equal(spare.environments, 0);
  const turn = spare.next({ sequence: 0 });
  remote.startStep(0);
  await puppet.next({ sequence: 1 });
  assert.equal((await puppet.client.leave(puppet.name)).status, 200);
  const { json } = await turn;
  assert.deepEqual([json.command, json.environments], ["reset", [0]]);
  const acts = spare.next(seen(1, 4));
  await finish(remote, 0);
  assert.deepEqual([...group.finalObservations], [7, 1, 0, 7, 2, 3]);
  assert.deepEqual([...group.finalState], [7, 1, 7, 2, 3]);
  assert.deepEqual([...group.observations], [4, 1, 0, 4, 2, 3]);
  assert.deepEqual([group.terminated[0], group.truncated[0], group.rewards[0]], [0, 1, 0]);
  assert.equal(group.episodeLength[0], 0);
  group.actions.set([0, 1]);
  remote.startStep(0);
  assert.deepEqual((await acts).json.actions, [[0, 1]]);
  void spare.next(stepped(2, 6));
  await finish(remote, 0);
  assert.deepEqual([group.truncated[0], group.episodeReturn[0], group.episodeLength[0]], [0, 6, 1]);
});

test("a simulator that leaves while the policy learns costs one step, and the others nothing", async (context) => {
  const { vector, url } = listen(context, { envs: 2, groups: 1, pollSeconds: 0.05 });
  const puppet = await Puppet.register(await url);
  const other = await Puppet.register(await url);
  const remote = await vector;
  const [group] = remote.groups as [EnvGroup];
  const began = remote.begin(1);
  await Promise.all([puppet.begin(7), other.begin(8), began]);
  const before = [...group.observations];
  await puppet.client.leave(puppet.name);
  const spare = await Puppet.register(await url);
  await spare.next({ sequence: 0 });
  assert.equal((await spare.next(seen(1, 4))).json.command, "wait");
  assert.deepEqual([...group.observations], before, "what the policy acts on does not change under it");
  remote.startStep(0);
  await other.next({ sequence: 1 });
  other.next(stepped(2, 2)).catch(() => {});
  await finish(remote, 0);
  assert.deepEqual([...group.observations], [4, 1, 0, 2, 1, 0, 4, 2, 3, 2, 2, 3]);
  assert.deepEqual([...group.truncated], [1, 0]);
  assert.deepEqual([...group.rewards], [0, 2]);
  assert.deepEqual([...group.episodeLength], [0, 1]);
});

test("a step that a simulator answered before it left stays in the rollout, and its successor begins with the next step", async (context) => {
  const { vector, url } = listen(context, { envs: 2, groups: 1 });
  const first = await Puppet.register(await url);
  const other = await Puppet.register(await url);
  const remote = await vector;
  const [group] = remote.groups as [EnvGroup];
  await Promise.all([first.begin(7), other.begin(8), remote.begin(1)]);
  const spare = await Puppet.register(remote.address);
  const turn = spare.next({ sequence: 0 });
  remote.startStep(0);
  await Promise.all([first.next({ sequence: 1 }), other.next({ sequence: 1 })]);
  const last = seen(2, 9)["observations"];
  const end = { terminated: [true], final_observations: last, figures: [{ won: 1 }] };
  first.next({ ...stepped(2, 7), ...end }).catch(() => {});
  await until(() => group.rewards[0] === 7, "the step is answered");
  await first.leave();
  await turn;
  const acts = spare.next(seen(1, 4));
  other.next(stepped(2, 2)).catch(() => {});
  await finish(remote, 0);
  assert.deepEqual([...group.rewards], [7, 2]);
  assert.deepEqual(
    [[...group.terminated], [...group.truncated]],
    [
      [1, 0],
      [0, 0],
    ],
  );
  assert.deepEqual(
    [[...group.episodeReturn], [...group.episodeLength]],
    [
      [7, 2],
      [1, 1],
    ],
  );
  assert.deepEqual([group.figures[0], group.finalObservations[0], group.observations[0]], [1, 9, 7]);
  remote.startStep(0);
  assert.equal((await other.next({ sequence: 2 })).json.command, "act");
  other.next(stepped(3, 3)).catch(() => {});
  await finish(remote, 0);
  assert.deepEqual(
    [[...group.rewards], [...group.truncated]],
    [
      [0, 3],
      [1, 0],
    ],
  );
  assert.deepEqual(
    [[...group.episodeLength], group.finalObservations[0], group.observations[0]],
    [[0, 2], 7, 4],
  );
  remote.startStep(0);
  assert.deepEqual((await acts).json.command, "act");
});

test("one that takes over an answered step and one that is owed ends both, and the answered one keeps its reward", async (context) => {
  const { vector, url } = listen(context, { envs: 2, groups: 1 });
  const [first, other] = [await Puppet.register(await url), await Puppet.register(await url)];
  const remote = await vector;
  const [group] = remote.groups as [EnvGroup];
  await Promise.all([first.begin(7), other.begin(8), remote.begin(1)]);
  remote.startStep(0);
  await Promise.all([first.next({ sequence: 1 }), other.next({ sequence: 1 })]);
  first.next(stepped(2, 6)).catch(() => {});
  await until(() => group.rewards[0] === 6, "the step is answered");
  await first.leave();
  await other.leave();
  const both = await Puppet.register(remote.address, { ...PAIR, environments: 2 });
  assert.deepEqual((await both.next({ sequence: 0 })).json.environments, [0, 1]);
  const acts = both.next(doubled(seen(1, 4)));
  await finish(remote, 0);
  assert.deepEqual(
    [[...group.rewards], [...group.truncated]],
    [
      [6, 0],
      [0, 1],
    ],
  );
  remote.startStep(0);
  await finish(remote, 0);
  assert.deepEqual(
    [[...group.truncated], [...group.episodeLength]],
    [
      [1, 1],
      [0, 0],
    ],
  );
  remote.startStep(0);
  assert.deepEqual((await acts).json.environments, [0, 1]);
});

test("a simulator that offers more than it runs takes over what another leaves, and steps all of it at once", async (context) => {
  const notes: string[] = [];
  const onNote = (line: string): void => void notes.push(line);
  const { vector, url } = listen(context, { envs: 4, groups: 1, onNote });
  const first = await Puppet.register(await url, { ...PAIR, environments: 2 });
  const second = await Puppet.register(await url, { ...PAIR, environments: 4 });
  assert.deepEqual([first.environments, second.environments], [2, 2]);
  const remote = await vector;
  const [group] = remote.groups as [EnvGroup];
  const begins = [first, second].map(async (puppet) => {
    await puppet.next({ sequence: 0 });
    return puppet.next(doubled(seen(1, 7)));
  });
  await remote.begin(1);
  remote.startStep(0);
  await Promise.all(begins);
  const more = second.next(doubled(stepped(2, 5)));
  await first.leave();
  const { json } = await more;
  assert.deepEqual([json.command, json.environments], ["reset", [2, 3]]);
  const acts = second.next(doubled(seen(3, 4)));
  await finish(remote, 0);
  assert.deepEqual(
    [[...group.rewards], [...group.truncated]],
    [
      [0, 0, 5, 5],
      [1, 1, 0, 0],
    ],
  );
  assert.ok(
    notes.some((line) => /takes over 2 more of them/.test(line)),
    notes.join("; "),
  );
  group.actions.set([0, 1, 0, 1, 2, 1, 0, 2]);
  remote.startStep(0);
  const told = (await acts).json;
  assert.deepEqual(told.environments, [0, 1, 2, 3]);
  assert.deepEqual(told.actions, [
    [0, 0],
    [1, 2],
    [0, 2],
    [1, 1],
  ]);
  second.next(doubled(doubled(stepped(4, 3)))).catch(() => {});
  await finish(remote, 0);
  assert.deepEqual([...group.rewards], [3, 3, 3, 3]);
});

test("a simulator that asks for nothing is given up, and its late answer is told to register again", async (context) => {
  const notes: string[] = [];
  const { remote, puppet } = await started(context, {
    timeoutSeconds: 0.2,
    onNote: (line) => notes.push(line),
  });
  remote.startStep(0);
  await puppet.next({ sequence: 1 });
  const spare = await Puppet.register(remote.address);
  await spare.next({ sequence: 0 });
  const late = await puppet.next(stepped(2, 1));
  assert.equal(late.status, 409);
  assert.match(late.json.error, /given up: no request for 0\.2 s; register again$/);
  void spare.next(seen(1, 4));
  await finish(remote, 0);
  assert.equal(remote.groups[0]!.truncated[0], 1);
  assert.ok(notes.some((line) => /was given up.*its 1 unfinished episode is dropped/.test(line)));
});

test("a request that is sent again is told the same command, and an answer counts once", async (context) => {
  const { remote, puppet } = await started(context);
  const [group] = remote.groups as [EnvGroup];
  remote.startStep(0);
  const first = await puppet.next({ sequence: 1 });
  const again = await puppet.next(seen(1, 99));
  assert.deepEqual(again.json, first.json);
  const lost = new AbortController();
  const answer = puppet.next(stepped(2, 3), lost.signal);
  await finish(remote, 0);
  lost.abort();
  await assert.rejects(answer);
  remote.startStep(0);
  const { json } = await puppet.next(stepped(2, 50));
  assert.deepEqual([json.command, json.sequence], ["act", 3]);
  assert.equal(group.episodeReturn[0], 3);
  const old = await puppet.next(stepped(1, 1));
  assert.deepEqual([old.status, /one that is over/.test(old.json.error)], [409, true]);
  assert.equal((await puppet.next(stepped(4, 1))).status, 400);
});

test("a request without news is told to ask again, and an older one is let go by a newer", async (context) => {
  const { puppet } = await started(context, { pollSeconds: 0.05 });
  assert.deepEqual((await puppet.next({ sequence: 1 })).json, { sequence: 1, command: "wait" });
  const { puppet: patient } = await started(context);
  const older = patient.next({ sequence: 1 });
  const newer = new AbortController();
  const last = patient.next({ sequence: 1 }, newer.signal);
  assert.deepEqual((await older).json, { sequence: 1, command: "wait" });
  newer.abort();
  await assert.rejects(last);
});

/** One environment of {@link PAIR}, begun: the trainer sees mark 7. */
async function started(
  context: TestContext,
  options: Partial<Parameters<typeof listen>[1]> = {},
): Promise<{
  remote: Awaited<ReturnType<typeof listen>["vector"]>;
  puppet: Puppet;
  // biome-ignore lint/suspicious/noExplicitAny: a test's view of JSON
  told: any;
}> {
  const { vector, url } = listen(context, { envs: 1, groups: 1, ...options });
  const puppet = await Puppet.register(await url);
  const remote = await vector;
  const [told] = await Promise.all([puppet.begin(7), remote.begin(5)]);
  return { remote, puppet, told: told.json };
}

/** The same of twice as many environments. */
function doubled(answer: Record<string, unknown>): Record<string, unknown> {
  const twice = (value: unknown): unknown => (Array.isArray(value) ? [...value, ...value] : value);
  return Object.fromEntries(Object.entries(answer).map(([name, value]) => [name, twice(value)]));
}

/** One environment of a vector environment that has a group for each. */
function fakeSimulated(vector: VectorEnv, index: number): Simulated {
  const group = vector.groups[index]!;
  return {
    spec: vector.spec,
    reset(seed) {
      // Without a seed the group has begun its next episode already.
      if (seed !== undefined) vector.reset(seed);
      return group;
    },
    step(actions) {
      group.actions.set(actions);
      vector.startStep(index);
      vector.finishStep(index);
      const [over, cut] = [group.terminated[0] === 1, group.truncated[0] === 1];
      const last = { ...group, observations: group.finalObservations, state: group.finalState };
      return {
        reward: group.rewards[0]!,
        terminated: over,
        truncated: cut,
        view: over || cut ? last : group,
      };
    },
  };
}
