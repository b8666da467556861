/** Which actions are taken and which refused. A refused one changes nothing. */
import assert from "node:assert/strict";
import type { ErrorCode } from "../../src/base/errors.ts";
import { actionWidth } from "../../src/envs/buffers.ts";
import type { EnvironmentSuite } from "./envs.ts";
import { choices, ended, Player } from "./envs-player.ts";

/** Steps in which choices that are not available are looked for. */
const LOOKED = 6;

export function testActions(suite: EnvironmentSuite): void {
  suite.test("an action that is not finite is refused naming the agent, and nothing moves", async (make) => {
    const player = new Player(await make());
    player.reset(1);
    for (const [agent, { actionSize }] of player.env.spec.agents.entries()) {
      const last = player.env.spec.actionSpace.kind === "continuous" ? actionSize - 1 : 0;
      for (const value of [Number.NaN, Number.POSITIVE_INFINITY]) {
        refused(player, { agent, place: last, value, code: "LORASA_NOT_FINITE" });
      }
    }
  });

  suite.test("a choice that is no choice, or not available, is refused naming the agent", async (make) => {
    const player = new Player(await make());
    const { actionSpace, agents } = player.env.spec;
    // Numbers of a continuous action beyond its bounds are taken; only choices can be wrong.
    if (actionSpace.kind === "continuous") return assert.equal(player.buffers.actionMask.length, 0);
    player.reset(1);
    for (let t = 0; t < LOOKED; t++) {
      for (let agent = 0; agent < agents.length; agent++) {
        const masked = choices(player.env, player.buffers, agent, 0);
        for (const value of [-1, 0.5, actionSpace.count, ...masked.slice(0, 1), ...masked.slice(-1)]) {
          refused(player, { agent, place: 0, value, code: "LORASA_RANGE" });
        }
      }
      if (ended(player.step())) break;
    }
  });

  suite.test("actions are read only, and what lies in their padding changes nothing", async (make) => {
    const env = await make();
    const plain = new Player(env, 1, 0);
    const start = plain.reset(3);
    const expected = plain.play(5);
    const padded = new Player(env, 1, Number.NaN);
    assert.deepEqual(padded.reset(3), start);
    assert.deepEqual(padded.play(5), expected);
    padded.reset(3);
    padded.choose();
    const actions = padded.actions.slice();
    env.step(padded.actions, padded.buffers);
    assert.deepEqual(padded.actions, actions);
  });
}

/** That the step is refused when one number of otherwise good actions is bad. */
function refused(
  player: Player,
  { agent, place, value, code }: { agent: number; place: number; value: number; code: ErrorCode },
): void {
  const { env, buffers, actions } = player;
  const { name } = env.spec.agents[agent]!;
  const before = env.save();
  const seen = buffers.observations.slice();
  player.choose();
  actions[agent * actionWidth(env.spec) + place] = value;
  assert.throws(
    () => env.step(actions, buffers),
    (error: { code?: unknown; message: string }) => error.code === code && error.message.includes(name),
    `${value} of ${name}`,
  );
  assert.deepEqual(env.save(), before);
  assert.deepEqual(buffers.observations, seen);
}
