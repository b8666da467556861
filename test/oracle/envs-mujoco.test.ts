/** Our MuJoCo robots against Gymnasium's: compiled models, single steps, trajectories, and what each agent observes. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import loadMujoco from "@mujoco/mujoco";
import { createBuffers } from "../../src/envs/buffers.ts";
import type { Env, EnvBuffers } from "../../src/envs/contract.ts";
import { ant } from "../../src/envs/mujoco/ant.ts";
import { halfCheetah } from "../../src/envs/mujoco/half-cheetah.ts";
import { hopper } from "../../src/envs/mujoco/hopper.ts";
import { humanoid } from "../../src/envs/mujoco/humanoid.ts";
import { toMjcf } from "../../src/envs/mujoco/mjcf.ts";
import { swimmer } from "../../src/envs/mujoco/swimmer.ts";
import type { RobotTask } from "../../src/envs/mujoco/task.ts";
import { walker2d } from "../../src/envs/mujoco/walker-2d.ts";
import { makeEnv } from "../../src/envs/registry.ts";
import { assertClose, type Tolerance } from "../helpers/close.ts";

/** Where positions begin in what a MuJoCo environment saves: after its own counters and MuJoCo's clock. */
const POSITIONS_AT = 8 + 1;

/** How many numbers of the state end what is saved, after the place along x: those that forces and the like make. */
const DERIVED_SIZES: Readonly<Record<string, number>> = { Ant: 78, Humanoid: 303 };

interface Moment {
  readonly positions: number[];
  readonly velocities: number[];
  readonly warmstarts: number[];
  readonly place: number;
}

interface Outcome {
  readonly reward: number;
  readonly terminated: boolean;
  readonly derived: number[];
}

interface Trajectory {
  readonly actions: number[][];
  readonly moments: Moment[];
  readonly outcomes: Outcome[];
  readonly edges: { before: Moment; action: number[]; outcome: Outcome }[];
}

/** All numbers in 64ths. */
interface Observations {
  readonly positions: number[];
  readonly velocities: number[];
  readonly state: number[];
  readonly derived: number;
  readonly cases: {
    factorization: string;
    categories: string;
    hops: number;
    globals: string;
    observations: number[][];
    actuators: number[][];
  }[];
}

/**
 * A robot with how long it stays within a tolerance of Gymnasium's. Both sides run MuJoCo 3.14.0; native and WebAssembly
 * arithmetic differ in the last bit (fused multiply-adds, sines), which contacts amplify: tenfold every ten steps.
 */
interface Case {
  readonly task: RobotTask;
  readonly file: string;
  readonly together: number;
  readonly drift: Tolerance;
}

/** Positions, velocities and reward after one step: at most 1e-13 was seen (HalfCheetah's velocities). */
const STEP = both(1e-12);
/** Derived quantities, recorded to 12 digits. */
const DERIVED = both(1e-11);

const CASES: readonly Case[] = [
  { task: halfCheetah, file: "half-cheetah", together: 50, drift: both(1e-8) },
  { task: walker2d, file: "walker-2d", together: 100, drift: both(1e-11) },
  { task: ant, file: "ant", together: 60, drift: both(1e-8) },
  { task: hopper, file: "hopper", together: 100, drift: both(1e-12) },
  { task: swimmer, file: "swimmer", together: 60, drift: both(1e-12) },
  { task: humanoid, file: "humanoid", together: 45, drift: both(1e-11) },
];

for (const { task, file, together, drift } of CASES) {
  test(`${task.name}: the compiled model has Gymnasium's constants`, async () => {
    const mujoco = await loadMujoco();
    const model = mujoco.MjModel.from_xml_string(toMjcf(task.robot));
    const { madeWith, ...constants } = fixture<Record<string, number[]>>(`${file}-model`);
    assert.ok(madeWith);
    const fields = model as unknown as Record<string, ArrayLike<number>>;
    const options = model.opt as unknown as Record<string, ArrayLike<number> | number>;
    for (const [name, expected] of Object.entries(constants)) {
      const value = name.startsWith("opt_") ? options[name.slice(4)] : fields[name];
      const actual = Array.from(typeof value === "object" ? value : [Number(value)], Number);
      assertClose(actual, expected, { atol: 1e-14, rtol: 1e-14 }, name);
    }
    model.delete();
  });

  test(`${task.name}: a step from each recorded moment gives Gymnasium's next state, reward and end`, async () => {
    const { actions, moments, outcomes } = fixture<Trajectory>(`${file}-trajectory`);
    const env = await wholeRobot(task);
    const buffers = createBuffers(env.spec);
    for (const [t, action] of actions.entries()) {
      place(env, moments[t]!, buffers);
      const outcome = outcomes[t]!;
      const after = moments[t + 1]!;
      const { reward, terminated } = env.step(placed(task, action), buffers);
      const saved = env.save();
      assertClose(part(saved, "positions", after), after.positions, STEP, `positions ${t}`);
      assertClose(part(saved, "velocities", after), after.velocities, STEP, `velocities ${t}`);
      assertClose([reward], [outcome.reward], STEP, `reward ${t}`);
      assert.equal(terminated, outcome.terminated, `terminated ${t}`);
      const { derived } = outcome;
      const sensed = saved.subarray(saved.length - derived.length);
      assertClose(sensed, derived, DERIVED, `derived ${t}`);
      if (derived.length > 0) {
        const at = saved[saved.length - derived.length - 1]!;
        assertClose([at], [after.place], STEP, `place ${t}`);
      }
      const bound = task.velocityLimit?.bound ?? Number.POSITIVE_INFINITY;
      const velocities = part(saved, "velocities", after);
      const seen = [
        ...part(saved, "positions", after).subarray(task.hiddenPositions),
        ...velocities.map((velocity) => Math.min(Math.max(velocity, -bound), bound)),
        ...sensed,
      ];
      assert.deepEqual(buffers.state, Float32Array.from(seen), `state ${t}`);
    }
    env.close();
  });

  test(`${task.name}: ${together} steps on end stay with Gymnasium's`, async () => {
    const { actions, moments, outcomes } = fixture<Trajectory>(`${file}-trajectory`);
    const env = await wholeRobot(task);
    const buffers = createBuffers(env.spec);
    place(env, moments[0]!, buffers);
    for (const [t, action] of actions.slice(0, together).entries()) {
      const { reward, terminated } = env.step(placed(task, action), buffers);
      const after = moments[t + 1]!;
      assertClose(part(env.save(), "positions", after), after.positions, drift, `positions ${t}`);
      assertClose([reward], [outcomes[t]!.reward], drift, `reward ${t}`);
      assert.equal(terminated, outcomes[t]!.terminated);
      // Gymnasium's robot goes on after its end.
      if (terminated) env.restore(goingOn(env.save()), buffers);
    }
    env.close();
  });

  test(`${task.name}: beside the bounds of a healthy robot, episodes end where Gymnasium's do`, async () => {
    const { edges } = fixture<Trajectory>(`${file}-trajectory`);
    assert.equal(edges.length > 0, task.healthy !== undefined);
    const env = await wholeRobot(task);
    const buffers = createBuffers(env.spec);
    for (const [index, { before, action, outcome }] of edges.entries()) {
      place(env, before, buffers);
      const { reward, terminated } = env.step(placed(task, action), buffers);
      assert.equal(terminated, outcome.terminated, `edge ${index}`);
      assertClose([reward], [outcome.reward], both(1e-11), `reward of edge ${index}`);
    }
    env.close();
  });

  test(`${task.name}: every agent observes what MaMuJoCo shows it, and drives the same motors`, async () => {
    const { cases, derived, ...numbers } = fixture<Observations>(`${file}-observations`);
    const [positions, velocities, state] = [numbers.positions, numbers.velocities, numbers.state].map((all) =>
      all.map((number) => number / 64),
    ) as [number[], number[], number[]];
    const moment = { positions, velocities, warmstarts: velocities.map(() => 0), place: 0 };
    for (const { factorization, categories, hops, globals, observations, actuators } of cases) {
      const what = `${factorization} ${categories} hops ${hops} globals ${globals}`;
      const env = await makeEnv(`mujoco/${task.name}`, { factorization, categories, hops, globals });
      const { spec } = env;
      const buffers = createBuffers(spec);
      place(env, moment, buffers, state.slice(state.length - derived));
      assert.deepEqual(Array.from(buffers.state), state, what);
      assert.equal(spec.agents.length, observations.length, what);
      for (const [agent, expected] of observations.entries()) {
        assert.equal(spec.agents[agent]!.observationSize, expected.length, what);
        const start = agent * spec.observationSize;
        const row = buffers.observations.subarray(start, start + spec.observationSize);
        // 64ths: exact in float32. Shorter rows are padded with zeros.
        const padding = new Array(spec.observationSize - expected.length).fill(0);
        const wanted = [...expected.map((number) => number / 64), ...padding];
        assert.deepEqual(Array.from(row), wanted, `${what} agent ${agent}`);
      }
      const motors = task.robot.motors.map(({ joint }) => joint);
      const joints =
        task.factorizations[factorization] ?? factorization.split("|").map((own) => own.split(","));
      assert.deepEqual(
        joints.map((own) => own.map((joint) => motors.indexOf(joint))),
        actuators,
        what,
      );
      env.close();
    }
  });
}

/** One agent that drives every motor and sees the whole state. */
function wholeRobot(task: RobotTask): Promise<Env> {
  const factorization = task.robot.motors.map(({ joint }) => joint).join(",");
  return makeEnv(`mujoco/${task.name}`, { factorization, observe: "full" });
}

/** Motors in actuator order, as {@link wholeRobot} has them. */
function placed(task: RobotTask, action: number[]): Float32Array {
  assert.equal(action.length, task.robot.motors.length);
  return Float32Array.from(action);
}

/** Puts the environment at a moment of an episode under way; derived quantities as given, or as a start has them. */
function place(env: Env, moment: Moment, buffers: EnvBuffers, derived?: number[]): void {
  env.reset(buffers, 0);
  const saved = env.save();
  saved.set([...moment.positions, ...moment.velocities, ...moment.warmstarts], POSITIONS_AT);
  const [, robot = ""] = /^mujoco\/(\w+)/.exec(env.spec.name) ?? [];
  const size = DERIVED_SIZES[robot] ?? 0;
  if (size > 0) saved[saved.length - size - 1] = moment.place;
  if (derived !== undefined) saved.set(derived, saved.length - derived.length);
  env.restore(saved, buffers);
}

/** The same moment of an episode that has not ended. */
function goingOn(saved: Float64Array): Float64Array {
  return saved.with(7, 0);
}

function part(saved: Float64Array, name: "positions" | "velocities", { positions, velocities }: Moment) {
  const start = POSITIONS_AT + (name === "positions" ? 0 : positions.length);
  return saved.subarray(start, start + (name === "positions" ? positions : velocities).length);
}

function both(tolerance: number): Tolerance {
  return { atol: tolerance, rtol: tolerance };
}

function fixture<T>(name: string): T {
  return JSON.parse(readFileSync(new URL(`../fixtures/mujoco/${name}.json`, import.meta.url), "utf8")) as T;
}
