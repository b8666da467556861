/** One SMAC environment: sizes, options, availability, rewards, ends, errors, saving. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Random } from "../../src/base/random.ts";
import { createBuffers } from "../../src/envs/buffers.ts";
import type { Env, EnvBuffers, EnvOptions, StepResult } from "../../src/envs/contract.ts";
import { createBattle } from "../../src/envs/smac/battle.ts";
import { smacFamily } from "../../src/envs/smac/family.ts";
import { count, createTally, outcomeOf, rewardOf } from "../../src/envs/smac/reward.ts";
import { smacTask } from "../../src/envs/smac/tasks.ts";
import { isOpen } from "../../src/envs/smac/terrain.ts";
import { createView, giveOrder, look } from "../../src/envs/smac/view.ts";
import { TEAMS, type TeamName } from "../helpers/smac-teams.ts";

/** Agents, actions, limit; SMAC's observation and state; on-policy's observation, HARL's team state, on-policy's agent state; all as their code has them, agent id included. */
const SIZES = {
  "3m": [3, 9, 60, 30, 48, 64, 132, 81],
  "8m": [8, 14, 120, 80, 168, 204, 422, 251],
  "2s3z": [5, 11, 120, 80, 120, 144, 266, 173],
  "3s5z": [8, 14, 150, 128, 216, 252, 470, 299],
  "1c3s5z": [9, 15, 180, 162, 270, 310, 564, 363],
  "3s5z_vs_3s6z": [8, 15, 170, 136, 230, 268, 492, 318],
  MMM2: [10, 18, 180, 176, 322, 370, 678, 435],
  MMM: [10, 16, 150, 160, 290, 334, 626, 393],
  "5m_vs_6m": [5, 12, 70, 55, 98, 124, 249, 156],
  "27m_vs_30m": [27, 36, 180, 285, 1170, 1288, 2607, 1458],
  corridor: [6, 30, 400, 156, 282, 346, 570, 435],
  "6h_vs_8z": [6, 14, 150, 78, 140, 172, 332, 213],
  "25m": [25, 31, 150, 250, 950, 1054, 2156, 1203],
} as const;

for (const [map, sizes] of Object.entries(SIZES)) {
  test(`sizes of ${map} are those of SMAC, HARL and on-policy, less the agent's number`, () => {
    const spec = (options: EnvOptions) => smacTask(`smac/${map}`, options).spec;
    const team = spec({});
    const smac = spec({ layout: "smac" });
    const agent = spec({ state: "agent" });
    const agents = team.agents.length;
    assert.deepEqual(
      [
        agents,
        team.agents[0]!.actionSize,
        team.episodeLimit,
        smac.observationSize,
        smac.stateSize,
        team.observationSize + agents,
        team.stateSize,
        agent.stateSize + agents,
      ],
      sizes,
    );
    assert.deepEqual([team.statePerAgent, smac.statePerAgent, agent.statePerAgent], [false, false, true]);
  });
}

test("the rest of SMAC's list is there, and every task's buffers are filled to their ends", async () => {
  assert.equal(smacFamily.taskNames().length, 23);
  for (const name of smacFamily.taskNames()) {
    const { env, buffers } = await started(name);
    buffers.observations.fill(Number.NaN);
    buffers.state.fill(Number.NaN);
    buffers.actionMask.fill(7);
    env.reset(buffers, 1);
    assert.ok([...buffers.observations, ...buffers.state].every(Number.isFinite), name);
    assert.ok(
      buffers.actionMask.every((bit) => bit <= 1),
      name,
    );
    assert.ok(
      buffers.active.every((bit) => bit === 1),
      name,
    );
  }
});

test("the spec of MMM2 names agents by unit type, in SMAC's order", () => {
  const { spec } = smacTask("smac/MMM2", {});
  assert.equal(spec.name, "smac/MMM2");
  assert.deepEqual(
    spec.agents.map(({ type }) => type),
    ["marauder", "marauder", ...Array(7).fill("marine"), "medivac"],
  );
  assert.deepEqual(spec.agents[9], {
    name: "agent_9",
    observationSize: 360,
    actionSize: 18,
    type: "medivac",
  });
  assert.deepEqual(spec.actionSpace, { kind: "discrete", count: 18 });
  assert.deepEqual(spec.episodeFigures, ["won", "deadAllies", "deadEnemies"]);
  assert.equal(spec.stepSeconds, 8 / 22.4);
});

test("a full name with options comes back as the same task", () => {
  const options = { layout: "smac", obsLastAction: "true", episodeLimit: 7, reward: "signed" };
  const { spec } = smacTask("smac/3m", options);
  assert.equal(spec.name, "smac/3m?layout=smac&reward=signed&episodeLimit=7&obsLastAction=true");
  assert.equal(spec.observationSize, 30 + 2 * 9);
  assert.equal(smacTask("smac/3m", { state: "agent", stateTimestep: true }).spec.stateSize, 81 - 3 + 1);
});

test("options widen observations by what they add", () => {
  const size = (options: EnvOptions) => smacTask("smac/3s5z", options).spec.observationSize;
  assert.equal(size({ obsPathing: true }), 244 + 8);
  assert.equal(size({ obsTerrain: true }), 244 + 9);
  assert.equal(size({ obsTimestep: true }), 244 + 1);
  assert.equal(size({ obsLastAction: false }), 244 - 8 * 14);
  assert.equal(size({ obsAllHealth: false }), 244 - 15 * 2);
  assert.equal(size({ obsAllHealth: false, obsOwnHealth: false }), 244 - 16 * 2);
  assert.equal(size({ stackedFrames: 4 }), 244 * 4);
});

test("unknown scenarios and options that a layout does not have are refused, with what is known", () => {
  assert.throws(() => smacTask("smac/3n", {}), {
    code: "LORASA_UNKNOWN_TASK",
    message: /did you mean smac\/3m/,
  });
  assert.throws(() => smacTask("smac/3m", { layuot: "smac" }), { code: "LORASA_CONFIG", message: /layout/ });
  assert.throws(() => smacTask("smac/3m", { layout: "smac", state: "agent" }), { code: "LORASA_CONFIG" });
  assert.throws(() => smacTask("smac/3m", { layout: "smac", statePathing: true }), { code: "LORASA_CONFIG" });
  assert.throws(() => smacTask("smac/3m", { reward: "dense" }), { code: "LORASA_CONFIG" });
});

test("equal sides start as each other turned by 180 degrees about the map's centre", () => {
  const { names, x, y, allies } = createBattle(smacTask("smac/3s5z", {}).scenario);
  const places = names.map((name, u) =>
    u < allies
      ? [name, x[u]!.toFixed(3), y[u]!.toFixed(3)]
      : [name, (32 - x[u]!).toFixed(3), (32 - y[u]!).toFixed(3)],
  );
  assert.deepEqual(places.slice(allies).map(String).sort(), places.slice(0, allies).map(String).sort());
});

test("at the start of 3m an agent may stop and move, and sees its two friends but no enemy", async () => {
  const { env, buffers } = await started("smac/3m");
  assert.deepEqual([...buffers.actionMask.subarray(0, 9)], [0, 1, 1, 1, 1, 1, 0, 0, 0]);
  const seen = [...buffers.observations.subarray(0, 61)];
  // Two rows of three marines: agent 0 stands below agent 1, and agent 2 to the right of agent 0.
  const apart = 0.8 / 9;
  assertClose(seen.slice(0, 5), [1, apart, 0, apart, 1]);
  assertClose(seen.slice(14, 19), [1, apart, apart, 0, 1]);
  assertClose([...buffers.observations.subarray(61, 66)], [1, apart, 0, -apart, 1]);
  assert.ok(
    seen.slice(28, 43).every((value) => value === 0),
    "all zero",
  );
  assert.deepEqual(seen.slice(43, 52), [1, 1, 1, 1, 1, 0, 0, 0, 1]);
  assert.ok(
    seen.slice(52).every((value) => value === 0),
    "no last action yet",
  );
  env.step(Float32Array.of(4, 1, 2), buffers);
  const after = [...buffers.observations.subarray(0, 61)];
  assert.deepEqual(after.slice(52), oneHot(9, 4));
  assert.deepEqual(after.slice(5, 14), oneHot(9, 1));
  assert.deepEqual(after.slice(19, 28), oneHot(9, 2));
});

test("an attack becomes available at a distance of 6, for every unit", async () => {
  const { env, buffers } = await started("smac/3s5z");
  let [near, far] = [0, 0];
  for (let t = 0; t < 25; t++) {
    env.step(orders(env, "still", buffers), buffers);
    for (let agent = 0; agent < 8; agent++) {
      for (let enemy = 0; enemy < 8; enemy++) {
        const distance = 9 * buffers.observations[agent * 244 + 154 + enemy * 8 + 1]!;
        const available = buffers.actionMask[agent * 14 + 6 + enemy];
        if (distance === 0) continue;
        assert.equal(available, distance <= 6 ? 1 : 0, `at ${distance}`);
        available === 1 ? near++ : far++;
      }
    }
  }
  assert.ok(near > 0 && far > 0, "both were seen");
});

test("a Medivac's targets are its friends on the ground, not itself nor enemies", async () => {
  const { buffers } = await started("smac/MMM");
  assert.deepEqual([...buffers.actionMask.subarray(9 * 16 + 6)], [1, 1, 1, 1, 1, 1, 1, 1, 1, 0]);
});

test("a move is available where the ground one ahead is open: not off the road", async () => {
  const { env, buffers } = await started("smac/3m");
  for (let t = 0; t < 12; t++) {
    const action = buffers.actionMask[3] === 1 ? 3 : 1;
    env.step(Float32Array.of(action, 1, 1), buffers);
  }
  assert.deepEqual([...buffers.actionMask.subarray(2, 6)], [1, 0, 1, 1]);
  const south = 16 + 32 * buffers.state[3]!;
  assert.ok(south >= 8 && south < 9, `${south} is less than 1 from the southern edge at 8`);
});

test("a colossus at a cliff may not be ordered onto it, as SMAC's map of the ground has it", () => {
  const b = createBattle(smacTask("smac/2c_vs_64zg", {}).scenario);
  const view = createView(b);
  b.x[0] = 16;
  b.y[0] = 13.5;
  look(b, view);
  // North, south, east, west: the cliff lies from 12 to 13.
  assert.deepEqual([...view.mask.subarray(2, 6)], [1, 0, 1, 1]);
});

test("with the time in observations the dead are told it and nothing else", async () => {
  for (const layout of ["on-policy", "smac"]) {
    const { env, buffers } = await started(`smac/8m?layout=${layout}&obsTimestep=true`, 3);
    let steps = 0;
    while (steps < 60 && buffers.active.every((bit) => bit === 1)) {
      env.step(orders(env, "still", buffers), buffers);
      steps++;
    }
    const dead = buffers.active.indexOf(0);
    const size = env.spec.observationSize;
    const seen = [...buffers.observations.subarray(dead * size, (dead + 1) * size)];
    assert.deepEqual(seen, [...Array(size - 1).fill(0), Math.fround(steps / 120)], layout);
  }
});

test("everybody starts on the ground, and nobody in another", () => {
  for (const map of smacFamily.taskNames()) {
    const b = createBattle(smacTask(map, {}).scenario);
    for (let u = 0; u < b.units; u++) {
      assert.equal(isOpen(b.terrain.ground, b.x[u]!, b.y[u]!), 1, `${map}: ${b.names[u]} ${u}`);
      for (let v = 0; v < u; v++) {
        const apart = Math.hypot(b.x[u]! - b.x[v]!, b.y[u]! - b.y[v]!);
        assert.ok(apart >= b.radius[u]! + b.radius[v]!, `${map}: ${b.names[u]} ${u} and ${b.names[v]} ${v}`);
      }
    }
  }
});

test("corridor, 2s_vs_1sc and 2c_vs_64zg start where SMAClite's do", () => {
  const centres = (map: string) => {
    const { x, y, allies, units, attackX, attackY } = createBattle(smacTask(`smac/${map}`, {}).scenario);
    const middle = (all: Float64Array, from: number, to: number) =>
      (Math.min(...all.subarray(from, to)) + Math.max(...all.subarray(from, to))) / 2;
    const place = (from: number, to: number) => [middle(x, from, to), middle(y, from, to)];
    return [...place(0, allies), ...place(allies, units), attackX, attackY].map((at) => at.toFixed(2));
  };
  assert.deepEqual(centres("corridor"), ["19.04", "19.12", "27.91", "28.24", "4.47", "4.33"]);
  assert.deepEqual(centres("2s_vs_1sc"), ["14.05", "10.36", "13.92", "20.04", "11.12", "10.34"]);
  assert.deepEqual(centres("2c_vs_64zg").slice(2, 4), ["16.00", "9.00"]);
});

test("types of stalkers and zealots change places between allies and enemies, as in SMAC", async () => {
  const { env, buffers } = await started("smac/2s3z");
  const agents = 5;
  const allyRow = 4 + 1 + 2 + 11;
  const stalkerBits = [...buffers.state.subarray(5, 7)];
  const enemies = agents * allyRow;
  // Three zealots and two stalkers: the bit of the zealots is the first.
  const firstBits = Array.from({ length: 5 }, (_, enemy) => buffers.state[enemies + enemy * 6 + 4]!);
  assert.equal(env.spec.agents[0]!.type, "stalker");
  assert.deepEqual(stalkerBits, [1, 0]);
  assert.equal(
    firstBits.reduce((sum, bit) => sum + bit, 0),
    3,
  );
});

test("a won battle of marines is worth 20: all health, 10 a kill and 200 for the win, by max_reward 365", async () => {
  const { rewards, last } = await episode("smac/3m", "weakest");
  assert.deepEqual(last, { ...last, terminated: true, truncated: false });
  assert.equal(last.info!["won"], 1);
  assert.equal(last.info!["deadEnemies"], 3);
  assertClose([rewards.reduce((sum, reward) => sum + reward, 0)], [20]);
  // Every shot of 6, the 8th of which takes 3 and gives 10: whole numbers of 20/365.
  const points = rewards.map((reward) => (reward * 365) / 20);
  assertClose(points, points.map(Math.round));
  assert.ok(
    points.some((each) => each > 0 && each % 6 === 0),
    "whole shots",
  );
  assert.ok(Math.round(points.at(-1)!) >= 210, "the last step has a kill and the win");
});

test("rewards of 3s5z are scaled by max_reward 1510", async () => {
  const { env, buffers } = await started("smac/3s5z");
  let reward = 0;
  while (reward === 0) reward = env.step(orders(env, "nearest", buffers), buffers).reward;
  const points = (reward * 1510) / 20;
  assertClose([points], [Math.round(points)]);
});

test("shields that grow again are worth their absolute value, unless rewards are signed", () => {
  const before = { ...createTally(), allies: 2, enemies: 2, allyPoints: 90, enemyPoints: 100 };
  const grown = { before, after: { ...before, enemyPoints: 105 }, outcome: "undecided", most: 1000 } as const;
  assertClose(
    [rewardOf("positive", grown), rewardOf("signed", grown), rewardOf("sparse", grown)],
    [0.1, -0.1, 0],
  );
  const traded = { ...grown, after: { ...before, enemies: 1, enemyPoints: 60, allies: 1, allyPoints: 50 } };
  assertClose([rewardOf("positive", traded), rewardOf("signed", traded)], [1, 0.5]);
  const won = { ...traded, outcome: "won" } as const;
  assertClose([rewardOf("positive", won), rewardOf("sparse", won)], [5, 1]);
});

test("standing still is lost, and costs what the allies lose when rewards are signed", async () => {
  const positive = await episode("smac/3m", "still");
  assert.equal(positive.last.terminated, true);
  assert.deepEqual(positive.last.info, { won: 0, deadAllies: 3, deadEnemies: 0 });
  assert.ok(
    positive.rewards.every((reward) => reward === 0),
    "all zero",
  );
  const signed = await episode("smac/3m", "still", { reward: "signed" });
  const sum = signed.rewards.reduce((total, reward) => total + reward, 0);
  assertClose([(sum * 365) / 20], [-0.5 * 3 * (45 + 10)]);
  const sparse = await episode("smac/3m", "still", { reward: "sparse" });
  assert.deepEqual(sparse.rewards.slice(-2), [0, -1]);
});

test("the time limit is a defeat, or a truncation when asked", async () => {
  const defeat = await episode("smac/3m", "still", { episodeLimit: 4 });
  assert.equal(defeat.rewards.length, 4);
  assert.deepEqual([defeat.last.terminated, defeat.last.truncated], [true, false]);
  assert.deepEqual(defeat.last.info, { won: 0, deadAllies: 0, deadEnemies: 0 });
  const cut = await episode("smac/3m", "still", { episodeLimit: 4, timeLimit: "truncates" });
  assert.deepEqual([cut.last.terminated, cut.last.truncated], [false, true]);
  const lost = await episode("smac/3m", "still", { timeLimit: "truncates" });
  assert.deepEqual([lost.last.terminated, lost.last.truncated], [true, false]);
});

test("the dead may do nothing, see nothing and are not active", async () => {
  const { env, buffers } = await started("smac/8m?state=agent", 3);
  for (let t = 0; t < 24 && buffers.active.every((bit) => bit === 1); t++) {
    env.step(orders(env, "still", buffers), buffers);
  }
  const dead = buffers.active.indexOf(0);
  const living = buffers.active.indexOf(1);
  assert.ok(dead >= 0 && living >= 0, "some are dead, some live");
  assert.deepEqual([...buffers.actionMask.subarray(dead * 14, (dead + 1) * 14)], oneHot(14, 0));
  assert.equal(buffers.actionMask[living * 14], 0);
  const row = (values: Float32Array, size: number) => values.subarray(dead * size, (dead + 1) * size);
  assert.ok(
    row(buffers.observations, env.spec.observationSize).every((value) => value === 0),
    "all zero",
  );
  assert.ok(
    row(buffers.state, env.spec.stateSize).every((value) => value === 0),
    "all zero",
  );
  const actions = orders(env, "still", buffers);
  actions[dead] = 1;
  assert.throws(() => env.step(actions, buffers), {
    code: "LORASA_RANGE",
    message: new RegExp(`agent_${dead}`),
  });
});

test("actions that are not available, not whole or not finite are refused by agent, and nothing happens", async () => {
  const { env, buffers } = await started("smac/3m");
  const before = env.save();
  for (const [action, code] of [
    [6, "LORASA_RANGE"],
    [0, "LORASA_RANGE"],
    [9, "LORASA_RANGE"],
    [-1, "LORASA_RANGE"],
    [1.5, "LORASA_RANGE"],
    [Number.NaN, "LORASA_NOT_FINITE"],
    [Number.POSITIVE_INFINITY, "LORASA_NOT_FINITE"],
  ] as const) {
    const refused = { code, message: new RegExp(`agent_2.*${String(action).replace(".", "\\.")}`) };
    assert.throws(() => env.step(Float32Array.of(1, 1, action), buffers), refused);
  }
  assert.deepEqual(env.save(), before);
});

test("a step before reset or after the end is refused, and everything after closing", async () => {
  const env = await smacFamily.make("smac/3m", { episodeLimit: 1 });
  const buffers = createBuffers(env.spec);
  const still = Float32Array.of(1, 1, 1);
  assert.throws(() => env.step(still, buffers), { code: "LORASA_SIMULATOR" });
  env.reset(buffers, 1);
  env.step(still, buffers);
  assert.throws(() => env.step(still, buffers), { code: "LORASA_SIMULATOR" });
  const saved = env.save();
  env.close();
  env.close();
  for (const late of [
    () => env.reset(buffers),
    () => env.step(still, buffers),
    () => env.save(),
    () => env.restore(saved, buffers),
  ]) {
    assert.throws(late, { code: "LORASA_DISPOSED" });
  }
});

test("a saved state of another length, or damaged, is refused", async () => {
  const { env, buffers } = await started("smac/3m");
  const saved = env.save();
  assert.throws(() => env.restore(saved.subarray(1), buffers), { code: "LORASA_SHAPE" });
  saved[12] = Number.NaN;
  assert.throws(() => env.restore(saved, buffers), { code: "LORASA_NOT_FINITE" });
});

test("a reset amid an episode forgets all of it", async () => {
  for (const name of ["smac/2s3z", "smac/2s3z?stackedFrames=3"]) {
    const fresh = await started(name, 5);
    const used = await started(name, 4);
    for (let t = 0; t < 30; t++) used.env.step(orders(used.env, "nearest", used.buffers), used.buffers);
    used.env.reset(used.buffers, 5);
    assert.deepEqual(used.buffers, fresh.buffers);
    assert.deepEqual(used.env.save(), fresh.env.save());
  }
});

test("a restored moment shows what was seen there, and an episode's end stays one", async () => {
  const { env, buffers } = await started("smac/3m?episodeLimit=2");
  const east = Float32Array.of(4, 4, 4);
  env.step(east, buffers);
  const [saved, seen] = [env.save(), structuredClone(buffers)];
  env.step(Float32Array.of(5, 5, 5), buffers);
  const over = env.save();
  env.restore(saved, buffers);
  assert.deepEqual(buffers, seen);
  env.reset(buffers);
  env.restore(over, buffers);
  assert.throws(() => env.step(east, buffers), { code: "LORASA_SIMULATOR" });
});

test("a side of Medivacs alone is beaten, the allies also when both sides are", () => {
  const b = createBattle(smacTask("smac/MMM", {}).scenario);
  const outcome = () => {
    const tally = createTally();
    count(b, tally);
    return outcomeOf(tally, b);
  };
  assert.equal(outcome(), "undecided");
  b.health.fill(0, 10, 19);
  assert.equal(outcome(), "won");
  b.health.fill(0, 0, 9);
  assert.equal(outcome(), "lost", "SMAC looks at the allies first");
  b.health[10] = 1;
  assert.equal(outcome(), "lost");
  const marines = createBattle(smacTask("smac/3m", {}).scenario);
  assert.equal(outcomeOf(createTally(), marines), "drawn", "nobody heals here");
});

test("a Medivac's first target is the first friend, a fighter's the first enemy", () => {
  const b = createBattle(smacTask("smac/MMM", {}).scenario);
  const view = createView(b);
  giveOrder(b, view, 9, 6);
  giveOrder(b, view, 0, 6);
  assert.deepEqual([b.target[9], b.target[0]], [0, 10]);
});

test("stacked frames stand oldest first, zero before the start, and come back with a saved state", async () => {
  const { env, buffers } = await started("smac/3m?stackedFrames=3");
  const plain = await started("smac/3m");
  const size = plain.env.spec.observationSize;
  const frame = (agent: number, age: number) =>
    buffers.observations.slice((agent * 3 + age) * size, (agent * 3 + age + 1) * size);
  assert.ok(
    frame(2, 0).every((value) => value === 0) && frame(2, 1).every((value) => value === 0),
    "all zero",
  );
  const first = plain.buffers.observations.slice(2 * size, 3 * size);
  assert.deepEqual(frame(2, 2), first);
  const east = Float32Array.of(4, 4, 4);
  env.step(east, buffers);
  plain.env.step(east, plain.buffers);
  assert.deepEqual(frame(2, 1), first);
  assert.deepEqual(frame(2, 2), plain.buffers.observations.slice(2 * size, 3 * size));
  const shown = [Float32Array.from(buffers.observations), Float32Array.from(buffers.state)];
  const saved = env.save();
  env.step(east, buffers);
  env.restore(saved, buffers);
  assert.deepEqual([buffers.observations, buffers.state], shown);
});

test("focus fire wins 3m, retreating from melee wins 3s_vs_3z, and attacking the nearest wins 8m at times", async () => {
  assert.ok((await wins("smac/3m", "weakest", 20)) >= 18, "focus fire on 3m");
  assert.ok((await wins("smac/3s_vs_3z", "kite", 5)) >= 4, "retreating on 3s_vs_3z");
  assert.equal(await wins("smac/3s_vs_3z", "nearest", 5), 0);
  const sometimes = await wins("smac/8m", "nearest", 20);
  assert.ok(sometimes > 2 && sometimes < 20, `${sometimes} of 20`);
  assert.equal(await wins("smac/MMM2", "nearest", 5), 0);
});

async function started(name: string, seed = 1): Promise<{ env: Env; buffers: EnvBuffers }> {
  const [task = "", query = ""] = name.split("?");
  const env = await smacFamily.make(task, Object.fromEntries(new URLSearchParams(query)));
  const buffers = createBuffers(env.spec);
  env.reset(buffers, seed);
  return { env, buffers };
}

/** What a scripted team does at this moment. */
function orders(env: Env, team: TeamName, buffers: EnvBuffers): Float32Array {
  const [task = ""] = env.spec.name.split("?");
  const actions = new Float32Array(env.spec.agents.length);
  TEAMS[team](smacTask(task, {}), buffers, new Random(1))(actions);
  return actions;
}

async function episode(name: string, team: TeamName, options: EnvOptions = {}, seed = 1) {
  const env = await smacFamily.make(name, options);
  const buffers = createBuffers(env.spec);
  const act = TEAMS[team](smacTask(name, options), buffers, new Random(seed));
  const actions = new Float32Array(env.spec.agents.length);
  env.reset(buffers, seed);
  const rewards: number[] = [];
  let last: StepResult = { reward: 0, terminated: false, truncated: false };
  while (!last.terminated && !last.truncated) {
    act(actions);
    last = env.step(actions, buffers);
    rewards.push(last.reward);
  }
  return { rewards, last };
}

async function wins(name: string, team: TeamName, episodes: number): Promise<number> {
  let won = 0;
  for (let seed = 0; seed < episodes; seed++) won += (await episode(name, team, {}, seed)).last.info!["won"]!;
  return won;
}

function oneHot(size: number, at: number): number[] {
  return Array.from({ length: size }, (_, i) => (i === at ? 1 : 0));
}

function assertClose(actual: readonly number[], expected: readonly number[]): void {
  assert.equal(actual.length, expected.length);
  for (const [i, value] of actual.entries()) {
    assert.ok(Math.abs(value - expected[i]!) < 1e-5, `${i}: ${value} is not ${expected[i]}`);
  }
}
