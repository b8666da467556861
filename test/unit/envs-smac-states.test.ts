/** What SMAC's observations and states are made of, number by number. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { EnvOptions } from "../../src/envs/contract.ts";
import { writeAgentStates } from "../../src/envs/smac/agent-state.ts";
import { createBattle } from "../../src/envs/smac/battle.ts";
import { type Seen, writeObservations } from "../../src/envs/smac/observation.ts";
import { type SmacTask, smacTask } from "../../src/envs/smac/tasks.ts";
import { writeTeamState } from "../../src/envs/smac/team-state.ts";
import { UNITS } from "../../src/envs/smac/units.ts";
import { createView, look } from "../../src/envs/smac/view.ts";

test("HARL's team state: allies with readiness and last action, enemies, moves with terrain, time and constants", () => {
  const { task, seen } = moment("smac/MMM", {});
  const state = teamState(task, seen);
  const row = 4 + 3 + 16;
  // A marauder, at (8, 15), has 100 of 125 health left, waits 0.5 s and went east.
  same(state.slice(0, 4 + 3), [0.8, (0.5 * 22.4) / 25, -8 / 32, -1 / 32, 1, 0, 0]);
  same(state.slice(7, row), oneHot(16, 4));
  // The Medivac shows its energy; the dead marine before it nothing.
  same(state.slice(9 * row, 9 * row + 7), [1, 50 / 200, -6 / 32, 4 / 32, 0, 0, 1]);
  assert.ok(
    state.slice(8 * row, 9 * row).every((value) => value === 0),
    "all zero",
  );
  const enemies = 10 * row;
  same(state.slice(enemies + 9 * 6, enemies + 10 * 6), [0.5, 10 / 32, 0, 0, 0, 1]);
  const moves = enemies + 10 * 6;
  const width = 16 + 8 + 9;
  same(state.slice(moves, moves + 6), [0, 1, 1, 1, 1, 1]);
  same(state.slice(moves + 8 * width, moves + 8 * width + 16), oneHot(16, 0));
  // The Medivac at (10, 20): the road ends at 24, four cells to the north.
  same(state.slice(moves + 9 * width + 16, moves + 10 * width), [
    ...[0, 1, 1, 1, 1, 1, 1, 1],
    ...[1, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5],
  ]);
  same(state.slice(-6), [0.25, 32, 32, 32, 32, 9]);
});

test("SMAC's team state: all allies, all enemies, then all last actions", () => {
  const { task, seen } = moment("smac/MMM", { layout: "smac", stateTimestep: true });
  const state = teamState(task, seen);
  same(state.slice(0, 7), [0.8, (0.5 * 22.4) / 25, -8 / 32, -1 / 32, 1, 0, 0]);
  same(state.slice(70 + 9 * 6, 70 + 10 * 6), [0.5, 10 / 32, 0, 0, 0, 1]);
  same(state.slice(130, 130 + 16), oneHot(16, 4));
  assert.ok(
    state.slice(130 + 16, -1).every((value) => value === 0),
    "all zero",
  );
  same(state.slice(-1), [0.25]);
});

test("on-policy's agent state: the others in or out of sight, enemies, moves, own", () => {
  const { task, seen } = moment("smac/MMM", { state: "agent", stateTimestep: true });
  const state = new Float32Array(10 * task.state.size);
  writeAgentStates(seen, task.state, state);
  const own = [...state.slice(0, task.state.size)];
  const ally = 5 + 1 + 2 + 3 + 16;
  // The Medivac is the last of nine others: 2 to the east and 5 to the north.
  const distance = Math.hypot(2, 5);
  same(own.slice(8 * ally, 8 * ally + 11), [
    1,
    distance / 9,
    2 / 9,
    5 / 9,
    0.25,
    1,
    -6 / 32,
    4 / 32,
    0,
    0,
    1,
  ]);
  assert.ok(
    own.slice(7 * ally, 8 * ally).every((value) => value === 0),
    "all zero",
  );
  const enemies = 9 * ally;
  const far = Math.hypot(18, 1) / 9;
  const lastEnemy = [0, far, 2, 1 / 9, 0, 0.5, 0, 0, 1, 10 / 32, 0];
  same(own.slice(enemies + 9 * 11, enemies + 10 * 11), lastEnemy);
  const near = own.slice(enemies, enemies + 11);
  same(near, [1, 5 / 9, 5 / 9, 0, 1, 1, 1, 0, 0, -3 / 32, -1 / 32]);
  same(own.slice(enemies + 110, enemies + 110 + 4), [1, 1, 1, 1]);
  same(own.slice(enemies + 114, -1), [1, 0, 0, 0, 0.8, -8 / 32, -1 / 32, 1, 0, 0, ...oneHot(16, 4)]);
  same(own.slice(-1), [0.25]);
});

test("without mustAlive a dead agent's state keeps the others' numbers, but no distances", () => {
  const { task, seen } = moment("smac/MMM", { state: "agent", mustAlive: false });
  const state = new Float32Array(10 * task.state.size);
  writeAgentStates(seen, task.state, state);
  const dead = [...state.slice(8 * task.state.size, 9 * task.state.size)];
  same(dead.slice(0, 11), [0, 0, 0, 0, (0.5 * 22.4) / 25, 0.8, -8 / 32, -1 / 32, 1, 0, 0]);
});

test("SMAC's observation: moves, enemies, allies, own health and type", () => {
  const { task, seen } = moment("smac/MMM", { layout: "smac" });
  const observations = new Float32Array(10 * task.spec.observationSize);
  writeObservations(seen, task.observation, observations);
  const own = [...observations.slice(0, task.spec.observationSize)];
  same(own.slice(0, 4), [1, 1, 1, 1]);
  same(own.slice(4, 4 + 8), [1, 5 / 9, 5 / 9, 0, 1, 1, 0, 0]);
  assert.ok(
    own.slice(12, 84).every((value) => value === 0),
    "the other enemies are out of sight",
  );
  const medivac = 84 + 8 * 8;
  same(own.slice(medivac, medivac + 8), [1, Math.hypot(2, 5) / 9, 2 / 9, 5 / 9, 1, 0, 0, 1]);
  same(own.slice(-4), [0.8, 1, 0, 0]);
});

test("on-policy's observation: allies with last actions, enemies, moves, own with a header and last action", () => {
  const options = { obsPathing: true, obsTerrain: true, obsTimestep: true };
  const { task, seen } = moment("smac/MMM", options);
  seen.view.lastActions[9] = 6;
  const observations = new Float32Array(10 * task.spec.observationSize);
  writeObservations(seen, task.observation, observations);
  const own = [...observations.slice(0, task.spec.observationSize)];
  const ally = 8 + 16;
  same(own.slice(8 * ally, 9 * ally), [1, Math.hypot(2, 5) / 9, 2 / 9, 5 / 9, 1, 0, 0, 1, ...oneHot(16, 6)]);
  const enemies = 9 * ally;
  same(own.slice(enemies, enemies + 8), [1, 5 / 9, 5 / 9, 0, 1, 1, 0, 0]);
  const moves = enemies + 80;
  same(own.slice(moves, moves + 4), [1, 1, 1, 1]);
  same(own.slice(moves + 4, moves + 12), [1, 1, 1, 1, 1, 1, 1, 1]);
  same(own.slice(moves + 12, moves + 21), Array(9).fill(0.5));
  same(own.slice(moves + 21), [1, 0, 0, 0, 0.8, 1, 0, 0, ...oneHot(16, 4), 0.25]);
});

/** MMM with everyone far away but agent 0 at (8, 15), the Medivac at (10, 20) and the first enemy at (13, 15). */
function moment(name: string, options: EnvOptions): { task: SmacTask; seen: Seen } {
  const task = smacTask(name, options);
  const battle = createBattle(task.scenario);
  const { x, y, health, cooldown } = battle;
  for (let u = 0; u < battle.units; u++) [x[u], y[u]] = [26, 16];
  [x[0], y[0]] = [8, 15];
  [x[9], y[9]] = [10, 20];
  [x[10], y[10]] = [13, 15];
  health[0] = 100;
  cooldown[0] = 0.5;
  health[8] = 0;
  health[19] = 75;
  const view = createView(battle);
  look(battle, view);
  view.lastActions[0] = 4;
  const { bits } = task.scenario;
  return {
    task,
    seen: {
      battle,
      view,
      typeBit: Int8Array.from(battle.names, (type) => bits!.allies.indexOf(type)),
      cooldownLoops: Float64Array.from(battle.names, (type) => UNITS[type].cooldownLoops),
      elapsed: 0.25,
    },
  };
}

function teamState(task: SmacTask, seen: Seen): number[] {
  const state = new Float32Array(task.state.size).fill(Number.NaN);
  writeTeamState(seen, task.state, state);
  return [...state];
}

function oneHot(size: number, at: number): number[] {
  return Array.from({ length: size }, (_, i) => (i === at ? 1 : 0));
}

function same(actual: readonly number[], expected: readonly number[]): void {
  assert.equal(actual.length, expected.length);
  for (const [i, value] of actual.entries()) {
    assert.ok(Math.abs(value - expected[i]!) < 1e-6, `${i}: ${value} is not ${expected[i]}`);
  }
}
