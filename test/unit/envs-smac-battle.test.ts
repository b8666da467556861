/** Rules of SMAC's battles against fights worked out by hand. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Random } from "../../src/base/random.ts";
import { type Battle, createBattle, ORDER, takeHit } from "../../src/envs/smac/battle.ts";
import { fight } from "../../src/envs/smac/rounds.ts";
import type { Group } from "../../src/envs/smac/scenarios.ts";
import { UNITS, type UnitName } from "../../src/envs/smac/units.ts";

const LOOP = 1 / 22.4;

test("a marine kills a marine with eight shots, one every 0.61 s: in the 97th game loop", () => {
  const b = duel("marine", "marine", 5);
  run(b, 1);
  assert.equal(b.health[1], 39);
  run(b, 1);
  assert.equal(b.health[1], 33, "the second shot falls in loop 15");
  run(b, 10);
  assert.ok(b.health[1]! > 0, "alive after 12 steps");
  run(b, 1);
  assert.equal(b.health[1], 0);
});

test("blows keep their average rate although a game loop does not divide the cooldown", () => {
  const b = duel("marine", "spineCrawler", 5);
  b.maxHealth[1] = b.health[1] = 1e6;
  run(b, 280);
  // 100 s at one shot in 0.61 s, each 6 less 2 of armour; the crawler's own healing is 0.38 a second.
  const shots = Math.floor(100 / 0.61) + 1;
  assert.ok(Math.abs(1e6 - b.health[1]! - shots * 4 + 38) < 4.5, String(1e6 - b.health[1]!));
});

for (const [attacker, victim, lost] of [
  ["stalker", "marauder", 17],
  ["stalker", "marine", 13],
  ["marauder", "marauder", 19],
  ["marauder", "marine", 10],
  ["zealot", "marauder", 14],
  ["zealot", "marine", 16],
  ["hydralisk", "marine", 12],
  ["zergling", "marauder", 4],
  ["marine", "spineCrawler", 4],
] as const satisfies readonly (readonly [UnitName, UnitName, number])[]) {
  test(`one blow of a ${attacker} takes ${lost} from a ${victim}: bonus added, armour taken off each hit`, () => {
    const b = duel(attacker, victim, touching(attacker, victim));
    run(b, 1);
    const grown = (UNITS[victim] as { regeneration?: number }).regeneration ?? 0;
    close(b.health[1]!, UNITS[victim].health - lost, 8 * LOOP * grown + 1e-9);
  });
}

test("a shield takes hits before health and armour lessens only what passes it", () => {
  const b = duel("zealot", "zealot", 1);
  for (let hit = 0; hit < 6; hit++) takeHit(b, 1, 8);
  assert.deepEqual([b.shield[1], b.health[1]], [2, 100]);
  takeHit(b, 1, 8);
  assert.deepEqual([b.shield[1], b.health[1]], [0, 95]);
  takeHit(b, 1, 8);
  assert.deepEqual([b.shield[1], b.health[1]], [0, 88]);
});

test("a stalker's five shots empty a stalker's shield and take 9 of its health", () => {
  const b = duel("stalker", "stalker", 6);
  // Shots fall at 0, 1.34, 2.68, 4.02 and 5.36 s.
  run(b, Math.ceil(5.36 / (8 * LOOP)) + 1);
  assert.deepEqual([b.shield[1], b.health[1]], [0, 71]);
});

test("a shield regenerates 2 a second, only after 10 s without a hit", () => {
  const b = duel("marine", "stalker", 20);
  b.order[0] = ORDER.hold;
  takeHit(b, 1, 18);
  run(b, 27);
  assert.equal(b.shield[1], 62);
  run(b, 1 + 14);
  close(b.shield[1]!, 62 + 2 * 5, 0.2);
  takeHit(b, 1, 1);
  const hit = b.shield[1];
  run(b, 20);
  assert.equal(b.shield[1], hit);
});

test("a zealot ordered to attack from afar walks in and strikes when the edges are 0.1 apart", () => {
  const b = duel("zealot", "zealot", 6);
  // 4.9 at 3.15 a second is 34.8 loops.
  run(b, 4);
  assert.equal(b.shield[1], 50);
  run(b, 1);
  assert.equal(b.shield[1], 34);
});

test("a colossus hits all that its beam touches, twice each, with a bonus against light units", () => {
  const b = battleOf({ colossus: 1 }, { marine: 4, marauder: 1 }, ["marine", "marauder"]);
  const [target, beside, beyond, behind, armoured] = [1, 2, 3, 4, 5];
  place(b, 0, 10, 16);
  place(b, target, 15, 16);
  place(b, beside, 15, 17.7);
  place(b, beyond, 15, 14.1);
  place(b, behind, 15.6, 16);
  place(b, armoured, 15.5, 17);
  b.order[0] = ORDER.engage;
  b.target[0] = target;
  run(b, 1);
  assert.deepEqual(
    [target, beside, beyond, behind].map((u) => b.health[u]),
    [15, 15, 45, 45],
  );
  assert.equal(b.health[armoured], 125 - 2 * 9);
});

test("a baneling dies of its blow and hits all foes within 2.2, light ones harder, friends not", () => {
  const b = battleOf({ baneling: 2 }, { marine: 2, marauder: 1 });
  place(b, 0, 10, 16);
  place(b, 1, 10, 17);
  const [marine, far, marauder] = [2, 3, 4].sort((u, v) => b.names[v]!.localeCompare(b.names[u]!));
  place(b, marine!, 10.9, 16);
  place(b, far!, 10, 16 - 2.2 - 0.38);
  place(b, marauder!, 12.6, 16);
  b.order[0] = ORDER.engage;
  b.target[0] = marine!;
  run(b, 1);
  assert.equal(b.health[0], 0);
  assert.equal(b.health[1], 30);
  assert.deepEqual([b.health[marine!], b.health[far!], b.health[marauder!]], [10, 45, 125 - 19]);
});

test("a Medivac heals 9 health a second, pays a third in energy and regains 0.5625 energy a second", () => {
  const b = battleOf({ marine: 1, medivac: 1 }, { zealot: 1 }, ["marine", "medivac"]);
  b.order[2] = ORDER.hold;
  place(b, 2, 30, 10);
  b.health[0] = 10;
  b.order[1] = ORDER.engage;
  b.target[1] = 0;
  run(b, 1);
  const seconds = 8 * LOOP;
  close(b.health[0]!, 10 + 9 * seconds, 1e-9);
  close(b.energy[1]!, 50 - 3 * seconds + 0.5625 * seconds, 1e-9);
  b.energy[1] = 0;
  b.health[0] = 10;
  run(b, 1);
  close(b.health[0]!, 10 + 3 * 0.5625 * seconds, 1e-9);
  b.energy[1] = 50;
  b.health[0] = 44.9;
  run(b, 1);
  assert.equal(b.health[0], 45);
});

test("what cannot reach the air does not strike a Medivac, though it is ordered to", () => {
  const b = battleOf({ marauder: 1, marine: 1 }, { medivac: 1 }, ["marauder", "marine"]);
  for (const u of [0, 1]) {
    place(b, u, 14, 15 + u);
    b.order[u] = ORDER.engage;
    b.target[u] = 2;
  }
  place(b, 2, 16, 16);
  b.order[2] = ORDER.hold;
  run(b, 1);
  assert.equal(b.health[2], 150 - 5, "the marine alone");
  assert.deepEqual([b.x[0], b.y[0]], [14, 15]);
});

test("zerglings regain 0.38 health a second", () => {
  const b = duel("marine", "zergling", 20);
  b.order[0] = ORDER.hold;
  b.health[1] = 20;
  run(b, 14);
  close(b.health[1]!, 20 + 0.38 * 5, 1e-9);
});

test("the enemy marches to where the allies started and attacks the nearest it finds", () => {
  const b = battleOf({ marine: 2 }, { marine: 1 });
  place(b, 0, 9, 16);
  place(b, 1, 12, 16);
  place(b, 2, 23, 16);
  run(b, 4);
  close(b.x[2]!, 23 - 3.15 * 32 * LOOP, 1e-6);
  assert.equal(b.target[2], -1);
  run(b, 7);
  assert.equal(b.target[2], 1);
  assert.deepEqual([b.health[0], b.health[1]! < 45], [45, true]);
});

test("an enemy answers who attacks it from beyond its scanning range", () => {
  const b = battleOf({ stalker: 1 }, { zealot: 1 });
  place(b, 0, 10, 16);
  place(b, 1, 16.5, 16);
  b.attackX = 16.5;
  run(b, 1);
  assert.equal(b.target[1], -1, "6.5 away is out of 5 and a radius");
  b.order[0] = ORDER.engage;
  b.target[0] = 1;
  run(b, 1);
  assert.equal(b.target[1], 0);
});

test("an enemy turns to a healer in scanning range, even from a target in reach", () => {
  const b = battleOf({ marine: 1, medivac: 1 }, { marine: 1 }, ["marine", "medivac"]);
  place(b, 0, 12, 16);
  place(b, 1, 22, 22);
  place(b, 2, 16, 16);
  run(b, 1);
  assert.equal(b.target[2], 0);
  // Farther away than the marine.
  place(b, 1, 11, 18);
  run(b, 1);
  assert.equal(b.target[2], 1);
});

test("an enemy Medivac follows its friends and heals the one with the least health", () => {
  const b = battleOf({ marine: 1 }, { marine: 2, medivac: 1 });
  const medivac = b.names.indexOf("medivac");
  const [first, second] = [1, 2, 3].filter((u) => u !== medivac);
  place(b, 0, 2, 9);
  place(b, first!, 20, 16);
  place(b, second!, 20, 17);
  place(b, medivac, 21, 16.5);
  b.health[second!] = 10;
  b.health[first!] = 30;
  run(b, 1);
  assert.equal(b.health[first!], 30);
  assert.ok(b.health[second!]! > 10, "the weaker is healed");
  assert.ok(b.x[medivac]! > b.x[second!]!, "it keeps behind");
});

test("an enemy Medivac keeps its friends' pace on the march, and waits beside those that fight", () => {
  const b = battleOf({ marine: 1 }, { marauder: 1, medivac: 1 }, ["marauder", "medivac"]);
  place(b, 0, 2, 9);
  place(b, 1, 20, 16);
  place(b, 2, 20, 17);
  b.attackX = 0;
  run(b, 5);
  close(20 - Math.min(b.x[1]!, b.x[2]!), 3.15 * 40 * LOOP, 0.01);
  // Unhurt, but it has a target that it cannot reach in time.
  place(b, 0, 9, 9);
  place(b, 1, 9, 13);
  place(b, 2, 9, 22);
  b.health[0] = b.maxHealth[0] = 1e5;
  run(b, 8);
  assert.equal(b.target[2], 1);
  close(b.y[2]! - b.y[1]!, 4 + 0.75 + 0.5625, 0.2);
});

test("of two marines with 6 health that shoot at each other one lives: the dead act no more", () => {
  const b = duel("marine", "marine", 5);
  b.order[1] = ORDER.march;
  b.health[0] = b.health[1] = 6;
  run(b, 1);
  assert.deepEqual([b.health[0], b.health[1]].sort(), [0, 6]);
});

test("the dead are in nobody's way", () => {
  const b = battleOf({ marine: 2 }, { marine: 1 });
  place(b, 0, 10, 16);
  place(b, 1, 11, 16);
  place(b, 2, 30, 16);
  b.health[1] = 0;
  b.order[0] = ORDER.move;
  [b.goalX[0], b.goalY[0]] = [12, 16];
  run(b, 1);
  close(b.x[0]!, 10 + 3.15 * 8 * LOOP, 1e-9);
  assert.equal(b.y[0], 16);
});

test("zealots surround a unit: four strike at once though all come from one side", () => {
  const b = battleOf({ spineCrawler: 1 }, { zealot: 6 });
  place(b, 0, 10, 16);
  b.maxHealth[0] = b.health[0] = 1e5;
  run(b, 30);
  const striking = [1, 2, 3, 4, 5, 6].filter(
    (u) => (b.x[u]! - 10) ** 2 + (b.y[u]! - 16) ** 2 <= 1.1 ** 2 + 1e-6,
  );
  assert.ok(striking.length >= 5, `${striking.length} reach it`);
});

test("units walk around a cliff that only colossi cross", () => {
  const b = createBattle({
    allies: [{ at: [16, 16], units: { colossus: 1 } }],
    enemies: [{ at: [16, 9], units: { zergling: 1 } }],
    limit: 100,
    terrain: "ravine",
  });
  let crossed = Number.NaN;
  for (let step = 0; step < 40; step++) {
    const before = b.y[1]!;
    run(b, 1);
    if (before < 12.5 && b.y[1]! >= 12.5) crossed = b.x[1]!;
  }
  assert.ok(crossed < 4 || crossed > 28, `crossed at x ${crossed}`);
  assert.ok(b.shield[0]! < 150, "and it reached the colossus");
});

/** One attacker who is ordered to attack, and one victim that does nothing, so far apart. */
function duel(attacker: UnitName, victim: UnitName, distance: number): Battle {
  const b = battleOf({ [attacker]: 1 }, { [victim]: 1 });
  place(b, 0, 6, 16);
  place(b, 1, 6 + distance, 16);
  b.order[0] = ORDER.engage;
  b.target[0] = 1;
  b.order[1] = ORDER.hold;
  return b;
}

type LooseBattle = Battle & { attackX: number };

function battleOf(allies: Group["units"], enemies: Group["units"], bits?: readonly UnitName[]): LooseBattle {
  return createBattle({
    allies: [{ at: [9, 16], units: allies }],
    enemies: [{ at: [23, 16], units: enemies }],
    limit: 100,
    terrain: "road",
    ...(bits !== undefined && { bits: { allies: bits, enemies: bits } }),
  });
}

function touching(attacker: UnitName, victim: UnitName): number {
  return UNITS[attacker].radius + UNITS[victim].radius + 0.05;
}

function place(b: Battle, u: number, x: number, y: number): void {
  b.x[u] = x;
  b.y[u] = y;
}

function run(b: Battle, steps: number): void {
  const random = new Random(1);
  for (let step = 0; step < steps; step++) fight(b, random);
}

function close(actual: number, expected: number, tolerance: number): void {
  assert.ok(Math.abs(actual - expected) <= tolerance, `${actual} is not ${expected} within ${tolerance}`);
}
