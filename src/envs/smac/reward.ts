/** What a step is worth, and how a battle stands. */
import { type Battle, STRIKE } from "./battle.ts";
import type { SmacOptions } from "./options.ts";

const KILL = 10;
const WIN = 200;
/** Of what the allies lose, where it counts. */
const NEGATIVE_SCALE = 0.5;
/** The most that an episode gives, shields and health that grow again left aside. */
const EPISODE_REWARD = 20;

/** Health and shields of the living of each side, and how many live. */
export interface Tally {
  allies: number;
  enemies: number;
  allyPoints: number;
  enemyPoints: number;
  allyFighters: number;
  enemyFighters: number;
}

export function createTally(): Tally {
  return { allies: 0, enemies: 0, allyPoints: 0, enemyPoints: 0, allyFighters: 0, enemyFighters: 0 };
}

/** Counts both sides into `tally`. */
export function count(b: Battle, tally: Tally): void {
  let allyPoints = 0;
  let enemyPoints = 0;
  tally.allies = tally.enemies = tally.allyFighters = tally.enemyFighters = 0;
  for (let u = 0; u < b.units; u++) {
    const health = b.health[u]!;
    if (health <= 0) continue;
    const fights = b.strike[u] === STRIKE.heal ? 0 : 1;
    if (u < b.allies) {
      tally.allies++;
      tally.allyFighters += fights;
      allyPoints += health + b.shield[u]!;
    } else {
      tally.enemies++;
      tally.enemyFighters += fights;
      enemyPoints += health + b.shield[u]!;
    }
  }
  tally.allyPoints = allyPoints;
  tally.enemyPoints = enemyPoints;
}

export type Outcome = "won" | "lost" | "drawn" | "undecided";

/**
 * A side of healers alone is beaten. Where both sides lose their last fighters in one step, SMAC calls it a defeat in
 * battles with healers, whose allies it looks at first, and a draw in others.
 */
export function outcomeOf(
  { allyFighters, enemyFighters }: Tally,
  { alliedHealers }: Pick<Battle, "alliedHealers">,
): Outcome {
  if (allyFighters > 0) return enemyFighters > 0 ? "undecided" : "won";
  return enemyFighters > 0 || alliedHealers ? "lost" : "drawn";
}

/** The most that an unscaled episode gives: 10 a kill, 200 for the win, and all health and shields of the enemy. */
export function maxReward(b: Battle): number {
  let sum = WIN;
  for (let u = b.allies; u < b.units; u++) sum += KILL + b.maxHealth[u]! + b.maxShield[u]!;
  return sum;
}

/**
 * `positive`: what the enemy lost and 10 a kill, as an absolute value (so growing shields count too), 200 for the win,
 * all scaled so that an episode gives about 20. `signed`: without the absolute value, and less half of what the allies
 * lost and 5 for each that died. `sparse`: 1 for a win, −1 for a defeat, not scaled, as SMAC's documentation has it; its
 * code divides them by `most` / 20 too.
 */
export function rewardOf(
  kind: SmacOptions["reward"],
  { before, after, outcome, most }: { before: Tally; after: Tally; outcome: Outcome; most: number },
): number {
  if (kind === "sparse") return outcome === "won" ? 1 : outcome === "lost" ? -1 : 0;
  const dealt = before.enemyPoints - after.enemyPoints + KILL * (before.enemies - after.enemies);
  const suffered = before.allyPoints - after.allyPoints + KILL * (before.allies - after.allies);
  const battle = kind === "positive" ? Math.abs(dealt) : dealt - NEGATIVE_SCALE * suffered;
  return ((battle + (outcome === "won" ? WIN : 0)) * EPISODE_REWARD) / most;
}
