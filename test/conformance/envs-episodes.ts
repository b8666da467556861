/** How episodes start, go on and end. */
import assert from "node:assert/strict";
import type { EnvironmentSuite } from "./envs.ts";
import { ended, type Moment, Player } from "./envs-player.ts";

const EPISODES = 3;

export function testEpisodes(suite: EnvironmentSuite): void {
  suite.test("a seed gives the same episodes, in this and another environment", async (make) => {
    const env = await make();
    const first = episodes(new Player(env, 1), 5);
    assert.deepEqual(episodes(new Player(env, 1), 5), first);
    assert.deepEqual(episodes(new Player(await make(), 1), 5), first);
  });

  suite.test("another seed gives another start, and so does the next episode of the stream", async (make) => {
    const player = new Player(await make());
    const starts = [player.reset(5), player.reset(), player.reset(6)];
    const distinct = new Set(starts.map(({ observations }) => observations.join()));
    assert.equal(distinct.size, 3);
  });

  suite.test("an episode ends by its limit, and is truncated there and only there", async (make) => {
    const player = new Player(await make());
    const limit = player.env.spec.episodeLimit;
    for (let episode = 0; episode < EPISODES; episode++) {
      player.reset(episode);
      const moments = player.finish();
      assert.ok(moments.length <= limit, `${moments.length} steps with a limit of ${limit}`);
      for (const [t, { result }] of moments.entries()) {
        assert.ok(Number.isFinite(result!.reward), `reward of step ${t}`);
        if (result!.truncated) assert.equal(t + 1, limit, "truncated at the limit");
        else if (t + 1 === limit) assert.ok(result!.terminated, "ended at the limit");
      }
    }
  });

  suite.test("a step after the end, or before the first reset, is refused", async (make) => {
    const player = new Player(await make());
    const { env, actions, buffers } = player;
    const refused = () => assert.throws(() => env.step(actions, buffers), { code: "LORASA_SIMULATOR" });
    refused();
    player.reset(2);
    player.finish();
    player.choose();
    refused();
    player.reset();
    player.step();
  });

  suite.test("figures are given on the last step of every episode, and only then", async (make) => {
    const player = new Player(await make());
    const names = player.env.spec.episodeFigures;
    for (let episode = 0; episode < EPISODES; episode++) {
      player.reset(episode);
      const moments = player.finish();
      assert.ok(ended(moments.at(-1)!));
      const early = moments.slice(0, -1).filter(({ result }) => result!.info !== undefined);
      assert.deepEqual(early, []);
      const info = moments.at(-1)!.result!.info ?? {};
      assert.deepEqual(
        names.filter((name) => !Number.isFinite(info[name])),
        [],
        "figures without a number",
      );
    }
  });

  suite.test("closing twice is fine; use after it is refused", async (make) => {
    const player = new Player(await make());
    const { env, actions, buffers } = player;
    player.reset(1);
    const saved = env.save();
    env.close();
    env.close();
    const uses = {
      reset: () => env.reset(buffers),
      step: () => env.step(actions, buffers),
      save: () => env.save(),
      restore: () => env.restore(saved, buffers),
    };
    for (const [name, use] of Object.entries(uses)) assert.throws(use, { code: "LORASA_DISPOSED" }, name);
  });
}

/** One seeded episode and one that goes on with the stream. */
function episodes(player: Player, seed: number): Moment[] {
  return [player.reset(seed), ...player.finish(), player.reset(), ...player.finish()];
}
