/** A few thousand hostile requests, uploads and calls from a seed: `test/long/server-fuzz.ts` sends as many as asked. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { ATTACK_NAMES, ATTACKS, runAttack } from "../helpers/fuzz-attacks.ts";
import { FuzzWorld } from "../helpers/fuzz-world.ts";

const CASES = 4000;
/** Brings a failure back: `LORASA_FUZZ_SEED=… npm test -- server-fuzz`. */
const SEED = Number(process.env["LORASA_FUZZ_SEED"] ?? 20261122);

for (const name of ATTACK_NAMES) {
  test(`the server stands: ${name}, seed ${SEED}`, { timeout: 120_000 }, async () => {
    const world = await FuzzWorld.open();
    try {
      const { share, answered } = ATTACKS[name];
      const cases = Math.round(share * CASES);
      const { failure } = await runAttack(world, name, { cases, seed: SEED });
      assert.equal(failure, undefined, failure);
      const good = (world.answers.get(200) ?? 0) + (world.answers.get("OK") ?? 0);
      assert.ok(
        good >= answered * cases,
        `only ${good} of ${cases} were answered: the attack reaches nothing`,
      );
    } finally {
      await world.close();
    }
  });
}
