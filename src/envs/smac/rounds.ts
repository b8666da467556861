/** A step of the battle: game loops in which every unit acts in turn. Not what agents see of it. */
import type { Random } from "../../base/random.ts";
import { type Battle, ORDER, shuffleLiving } from "./battle.ts";
import { recover, strike } from "./combat.ts";
import { walk } from "./movement.ts";
import { chooseTarget, inReach, marchStride } from "./script.ts";
import { LOOPS_PER_STEP } from "./units.ts";

/** Runs the game loops of one step; who acts first in each is random. */
export function fight(b: Battle, random: Random): void {
  for (let loop = 0; loop < LOOPS_PER_STEP; loop++) {
    const count = shuffleLiving(b, random);
    for (let u = b.allies; u < b.units; u++) if (b.health[u]! > 0) chooseTarget(b, u);
    for (let i = 0; i < count; i++) {
      const u = b.queue[i]!;
      // Who died earlier in this loop acts no more.
      if (b.health[u]! <= 0) continue;
      recover(b, u);
      act(b, u);
    }
  }
}

function act(b: Battle, u: number): void {
  const order = b.order[u]!;
  if (order === ORDER.hold) return;
  if (order === ORDER.move) {
    walk(b, u, b.goalX[u]!, b.goalY[u]!, b.stride[u]!);
    return;
  }
  const target = b.target[u]! | 0;
  if (target >= 0 && b.health[target]! > 0) engage(b, u, target);
  // An ally whose target is dead waits for its next order.
  else if (order === ORDER.march) walk(b, u, b.attackX, b.attackY, marchStride(b, u));
}

/** Strikes what is in reach, walks to what is not; an order to strike what cannot be struck is not carried out. */
function engage(b: Battle, u: number, target: number): void {
  if (b.mayStrike[u * b.units + target] === 0) return;
  if (inReach(b, u, target)) {
    b.turn[u] = 0;
    strike(b, u, target);
  } else {
    walk(b, u, b.x[target]!, b.y[target]!, b.stride[u]!);
  }
}
