/** Any way to share the joints among agents is the same robot, read back from its own name. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { halfCheetah } from "../../src/envs/mujoco/half-cheetah.ts";
import { observedIndices, stateSize } from "../../src/envs/mujoco/observation.ts";
import { envSpec } from "../../src/envs/registry.ts";

const MOTORS = halfCheetah.robot.motors.map(({ joint }) => joint);

/** Joints in any order, cut into agents anywhere. */
const factorizations = fc
  .tuple(
    fc.shuffledSubarray(MOTORS, { minLength: MOTORS.length }),
    fc.array(fc.boolean(), { minLength: MOTORS.length - 1, maxLength: MOTORS.length - 1 }),
  )
  .map(([joints, cuts]) =>
    joints.map((joint, i) => (i === 0 ? "" : cuts[i - 1] ? "|" : ",") + joint).join(""),
  );

test("a written factorisation and its options come back from the full name", () => {
  const options = fc.record({
    hops: fc.integer({ min: 0, max: 6 }),
    globals: fc.constantFrom("none", "root"),
    observe: fc.constantFrom("khop", "full"),
    episodeLimit: fc.integer({ min: 1, max: 2000 }),
  });
  fc.assert(
    fc.property(factorizations, options, (factorization, rest) => {
      const spec = envSpec("mujoco/HalfCheetah", { factorization, ...rest });
      assert.deepEqual(envSpec(spec.name), spec);
      assert.equal(
        spec.agents.reduce((sum, agent) => sum + agent.actionSize, 0),
        MOTORS.length,
      );
    }),
  );
});

test("no number is seen twice by an agent, one more hop only adds, and all hops see every position", () => {
  fc.assert(
    fc.property(fc.subarray(MOTORS, { minLength: 1 }), fc.integer({ min: 0, max: 5 }), (own, hops) => {
      const near = observedIndices(halfCheetah, own, { observe: "khop", hops, globals: "none" });
      const far = observedIndices(halfCheetah, own, { observe: "khop", hops: hops + 1, globals: "none" });
      assert.equal(new Set(near).size, near.length);
      assert.deepEqual(far.slice(0, near.length), near);
      assert.ok(near.every((index) => index >= 0 && index < stateSize(halfCheetah)));
      const all = observedIndices(halfCheetah, own, { observe: "khop", hops: 6, globals: "root" });
      assert.equal(all.length, MOTORS.length + own.length + 5);
    }),
  );
});
