/** Our HalfCheetah against Gymnasium's: compiled model, single steps, a trajectory, and what each agent observes. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import loadMujoco from "@mujoco/mujoco";
import { createBuffers } from "../../src/envs/buffers.ts";
import type { Env } from "../../src/envs/contract.ts";
import { halfCheetah } from "../../src/envs/mujoco/half-cheetah.ts";
import { toMjcf } from "../../src/envs/mujoco/mjcf.ts";
import { makeEnv } from "../../src/envs/registry.ts";
import { assertClose } from "../helpers/close.ts";

/** Where MuJoCo's own state lies in what a MuJoCo environment saves, and its first parts for nine joints. */
const PLACES = { positions: 8 + 1, velocities: 8 + 1 + 9, warmstarts: 8 + 1 + 9 + 9 } as const;
const JOINTS = 9;

interface Trajectory {
  readonly actions: number[][];
  readonly positions: number[][];
  readonly velocities: number[][];
  readonly warmstarts: number[][];
  readonly rewards: number[];
}

interface Observations {
  readonly positions: number[];
  readonly velocities: number[];
  readonly cases: {
    factorization: string;
    hops: number;
    globals: string;
    observations: number[][];
    actuators: number[][];
  }[];
}

const trajectory = fixture<Trajectory>("half-cheetah-trajectory");

test("the compiled model has Gymnasium's constants", async () => {
  const mujoco = await loadMujoco();
  const model = mujoco.MjModel.from_xml_string(toMjcf(halfCheetah.robot));
  const { madeWith, ...constants } = fixture<Record<string, number[]>>("half-cheetah-model");
  assert.ok(madeWith);
  const fields = model as unknown as Record<string, ArrayLike<number>>;
  const options = model.opt as unknown as Record<string, ArrayLike<number> | number>;
  for (const [name, expected] of Object.entries(constants)) {
    const value = name.startsWith("opt_") ? options[name.slice(4)] : fields[name];
    const actual = Array.from(typeof value === "object" ? value : [Number(value)], Number);
    assertClose(actual, expected, { atol: 1e-12, rtol: 1e-12 }, name);
  }
  model.delete();
});

test("a step from each recorded state gives Gymnasium's next state and reward", async () => {
  const env = await makeEnv("mujoco/HalfCheetah-2x3");
  const buffers = createBuffers(env.spec);
  for (const [t, action] of trajectory.actions.entries()) {
    place(env, trajectory.positions[t]!, trajectory.velocities[t]!, trajectory.warmstarts[t]!);
    const { reward } = env.step(Float32Array.from(action), buffers);
    const saved = env.save();
    assertClose(
      part(saved, "positions"),
      trajectory.positions[t + 1]!,
      { atol: 1e-12, rtol: 1e-12 },
      `q ${t}`,
    );
    assertClose(
      part(saved, "velocities"),
      trajectory.velocities[t + 1]!,
      { atol: 1e-11, rtol: 1e-11 },
      `v ${t}`,
    );
    assertClose([reward], [trajectory.rewards[t]!], { atol: 1e-11, rtol: 1e-11 }, `reward ${t}`);
    const seen = [...trajectory.positions[t + 1]!.slice(1), ...trajectory.velocities[t + 1]!];
    assert.deepEqual(buffers.state, Float32Array.from(seen), `state ${t}`);
  }
  env.close();
});

test("50 steps on end stay with Gymnasium's", async () => {
  const env = await makeEnv("mujoco/HalfCheetah-6x1");
  const buffers = createBuffers(env.spec);
  place(env, trajectory.positions[0]!, trajectory.velocities[0]!, trajectory.warmstarts[0]!);
  for (const [t, action] of trajectory.actions.slice(0, 50).entries()) {
    const { reward } = env.step(Float32Array.from(action), buffers);
    // Contacts amplify the last bit, in which native and WebAssembly arithmetic differ, tenfold every ten steps.
    const tolerance = t < 20 ? { atol: 1e-12, rtol: 1e-12 } : { atol: 1e-8, rtol: 1e-8 };
    assertClose(part(env.save(), "positions"), trajectory.positions[t + 1]!, tolerance, `positions ${t}`);
    assertClose([reward], [trajectory.rewards[t]!], tolerance, `reward ${t}`);
  }
  env.close();
});

test("every agent observes what MaMuJoCo shows it, and drives the same motors", async () => {
  const { cases, positions, velocities } = fixture<Observations>("half-cheetah-observations");
  assert.equal(cases.length, 12);
  for (const { factorization, hops, globals, observations, actuators } of cases) {
    const what = `${factorization} hops ${hops} globals ${globals}`;
    const env = await makeEnv(`mujoco/HalfCheetah-${factorization}`, { hops, globals });
    const { spec } = env;
    const buffers = place(env, positions, velocities, new Array(JOINTS).fill(0));
    assert.equal(spec.agents.length, observations.length, what);
    for (const [agent, expected] of observations.entries()) {
      assert.equal(spec.agents[agent]!.observationSize, expected.length, what);
      const row = buffers.observations.subarray(
        agent * spec.observationSize,
        (agent + 1) * spec.observationSize,
      );
      // Sixteenths: exact in float32. Shorter rows are padded with zeros.
      const padding = new Array(spec.observationSize - expected.length).fill(0);
      assert.deepEqual(Array.from(row), [...expected, ...padding], `${what} agent ${agent}`);
    }
    const motors = halfCheetah.robot.motors.map(({ joint }) => joint);
    const joints = halfCheetah.factorizations[factorization]!;
    assert.deepEqual(
      joints.map((own) => own.map((joint) => motors.indexOf(joint))),
      actuators,
      what,
    );
    env.close();
  }
});

/** Puts the environment at a moment of an episode under way; gives what is seen there. */
function place(env: Env, positions: number[], velocities: number[], warmstarts: number[]) {
  const buffers = createBuffers(env.spec);
  env.reset(buffers, 0);
  const saved = env.save();
  saved.set(positions, PLACES.positions);
  saved.set(velocities, PLACES.velocities);
  saved.set(warmstarts, PLACES.warmstarts);
  env.restore(saved, buffers);
  return buffers;
}

function part(saved: Float64Array, name: keyof typeof PLACES): Float64Array {
  return saved.subarray(PLACES[name], PLACES[name] + JOINTS);
}

function fixture<T>(name: string): T {
  return JSON.parse(readFileSync(new URL(`../fixtures/mujoco/${name}.json`, import.meta.url), "utf8")) as T;
}
