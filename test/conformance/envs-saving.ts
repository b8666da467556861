/** Saving a moment and going back to it. */
import assert from "node:assert/strict";
import type { EnvironmentSuite } from "./envs.ts";
import { type Moment, Player } from "./envs-player.ts";

/** Steps after a restored moment, with the reset that an end among them brings. */
const FUTURE = 40;

export function testSaving(suite: EnvironmentSuite): void {
  suite.test(
    "after restore the future is the same bit for bit, here and in another environment",
    async (make) => {
      const player = new Player(await make());
      player.reset(3);
      player.play(5);
      const [saved, now] = [player.env.save(), player.look()];
      const future = playedOn(player);
      const other = new Player(await make());
      for (const each of [player, other]) {
        assert.deepEqual(each.restore(saved), now);
        assert.deepEqual(playedOn(each), future);
      }
    },
  );

  suite.test("the moment of an episode's end is restored as ended, and its stream goes on", async (make) => {
    const player = new Player(await make());
    player.reset(3);
    player.finish();
    const saved = player.env.save();
    const next = player.reset();
    player.restore(saved);
    player.choose();
    const late = () => player.env.step(player.actions, player.buffers);
    assert.throws(late, { code: "LORASA_SIMULATOR" });
    assert.deepEqual(player.reset(), next);
  });

  suite.test(
    "a saved moment is a copy, of one length from before the first reset to after the end",
    async (make) => {
      const player = new Player(await make());
      const lengths = [player.env.save().length];
      player.reset(3);
      const saved = player.env.save();
      const copy = saved.slice();
      lengths.push(saved.length);
      player.finish();
      lengths.push(player.env.save().length);
      assert.equal(new Set(lengths).size, 1, lengths.join());
      assert.deepEqual(saved, copy);
      player.restore(saved);
      player.finish();
      assert.deepEqual(saved, copy, "restore keeps no hold of it");
    },
  );

  suite.test("a saved moment of another length is refused, and the episode goes on", async (make) => {
    const player = new Player(await make());
    player.reset(3);
    const saved = player.env.save();
    for (const wrong of [saved.subarray(1), Float64Array.of(...saved, 0), new Float64Array(0)]) {
      assert.throws(() => player.env.restore(wrong, player.buffers), { code: "LORASA_SHAPE" });
    }
    assert.deepEqual(player.env.save(), saved);
    player.step();
  });
}

function playedOn(player: Player): Moment[] {
  player.reseed(9);
  return player.play(FUTURE);
}
