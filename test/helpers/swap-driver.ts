/** Asks a tiny team in every way while its adapters are pushed and rolled back, and checks every reply. Not a test. */
import assert from "node:assert/strict";
import { assertClose } from "./close.ts";
import {
  type Answer,
  ask,
  expectedAction,
  floats,
  type Inputs,
  indices,
  names,
  push,
  type TinyEngine,
  turns,
} from "./engine-service.ts";

const OBSERVATION = [0.5, -1, 2];
const NAMES = ["agent_0", "agent_1", "agent_0.blue"];
const SWAPS = 75;
/** Fewer sets of versions mean that swaps and requests did not meet. */
const LEAST_SEEN = 30;

interface Driver {
  readonly model: string;
  readonly inputs: Inputs;
  /** Agent and adapter of each row that is answered. */
  readonly rows: readonly (readonly [agent: number, adapter: string])[];
}

function repeated(rows: number): number[] {
  return Array.from({ length: rows }, () => OBSERVATION).flat();
}

const DRIVERS: readonly Driver[] = [
  {
    model: "team",
    inputs: { obs: floats([2, 2, 3], repeated(4)) },
    rows: [
      [0, "agent_0"],
      [1, "agent_1"],
      [0, "agent_0"],
      [1, "agent_1"],
    ],
  },
  {
    model: "team",
    inputs: { obs: floats([3, 3], repeated(3)), agent: indices(1, 0, 1) },
    rows: [
      [1, "agent_1"],
      [0, "agent_0"],
      [1, "agent_1"],
    ],
  },
  {
    model: "team",
    inputs: {
      obs: floats([3, 3], repeated(3)),
      agent: indices(0, 1, 0),
      adapter: names("agent_0.blue", "agent_1", "agent_0"),
    },
    rows: [
      [0, "agent_0.blue"],
      [1, "agent_1"],
      [0, "agent_0"],
    ],
  },
  { model: "team.agent_0", inputs: { obs: floats([1, 3], OBSERVATION) }, rows: [[0, "agent_0"]] },
  { model: "team.agent_0.blue", inputs: { obs: floats([1, 3], OBSERVATION) }, rows: [[0, "agent_0.blue"]] },
];

/**
 * Swaps under load: every reply is of the versions that it names, and of none that was replaced before it began.
 * @param engine a factored team of the tiny sizes.
 */
export async function assertUnmixed(engine: TinyEngine): Promise<void> {
  const seeds = new Map(["agent_0", "agent_1"].map((name, agent) => [name, [agent]]));
  seeds.set("agent_0.blue", [50]);
  await push(engine, "agent_0.blue", 50);
  const acknowledged = new Map<string, number>();
  let swapping = true;
  let broken = false;
  let replies = 0;
  const seen = new Set<string>();
  const drive = async ({ model, inputs, rows }: Driver): Promise<void> => {
    while (swapping) {
      const told = new Map(acknowledged);
      const answer = await ask(engine, model, inputs);
      checkReply(engine, answer, rows, seeds);
      for (const [name, version] of Object.entries(answer.versions)) {
        const least = told.get(name) ?? 1;
        assert.ok(version >= least, `${name}=${version} began after ${least} was acknowledged or seen`);
        acknowledged.set(name, Math.max(version, acknowledged.get(name) ?? 1));
      }
      seen.add(JSON.stringify(answer.versions));
      replies += 1;
    }
  };
  // A version that no reply has seen says nothing.
  const seenByOne = async (): Promise<void> => {
    const before = replies;
    while (replies < before + DRIVERS.length && !broken) await turns(1);
  };
  const swapped = swapAll(engine, seeds, acknowledged, seenByOne).finally(() => {
    swapping = false;
  });
  const driven = [...DRIVERS, ...DRIVERS].map((driver) =>
    drive(driver).catch((error: unknown) => {
      broken = true;
      throw error;
    }),
  );
  await Promise.all([swapped, ...driven]);
  assert.ok(seen.size > LEAST_SEEN, `replies saw only ${seen.size} sets of versions`);
}

/** 25 versions of each name, a third of them rolled back; the seed of a version is known before it is there. */
async function swapAll(
  engine: TinyEngine,
  seeds: ReadonlyMap<string, number[]>,
  acknowledged: Map<string, number>,
  seen: () => Promise<void>,
): Promise<void> {
  for (let i = 0; i < SWAPS; i++) {
    const name = NAMES[i % NAMES.length]!;
    const versions = seeds.get(name)!;
    const rollback = versions.length > 1 && i % 4 === 3;
    versions.push(rollback ? versions.at(-2)! : 100 + i);
    const { version } = rollback
      ? await engine.adapters().rollback(name)
      : await push(engine, name, versions.at(-1)!);
    assert.equal(version, versions.length);
    acknowledged.set(name, version);
    await seen();
  }
}

function checkReply(
  { policy }: TinyEngine,
  { outputs, versions }: Answer,
  rows: Driver["rows"],
  seeds: ReadonlyMap<string, readonly number[]>,
): void {
  assert.deepEqual(Object.keys(versions).sort(), [...new Set(rows.map(([, name]) => name))].sort());
  const expected = rows.flatMap(([agent, name]) => {
    const seed = seeds.get(name)![versions[name]! - 1]!;
    return expectedAction(policy, OBSERVATION, agent, seed);
  });
  assertClose(outputs["action"]!, expected, {}, JSON.stringify(versions));
}
