/** The kinds of attacks on a server and how each is made from a seed. What must hold is judged by `fuzz-world.ts`. */
import fc from "fast-check";
import type { FuzzWorld } from "./fuzz-world.ts";
import { hostileAdapter } from "./hostile-adapters.ts";
import { rawBytes } from "./hostile-bytes.ts";
import { hostileCall } from "./hostile-calls.ts";
import { inferRequest, TARGETS } from "./hostile-infer.ts";
import { routeRequest } from "./hostile-routes.ts";
import { TinyPolicy } from "./tiny-models.ts";

/** Each with its share of all cases, and of those the least that are to be answered: a server that refuses all stands too. */
export const ATTACKS = {
  infer: {
    share: 0.35,
    answered: 0.1,
    property: attack(inferRequest, (world, request) => world.send(request)),
  },
  routes: {
    share: 0.25,
    answered: 0.02,
    property: attack(routeRequest, (world, request) => world.send(request)),
  },
  bytes: { share: 0.1, answered: 0.02, property: attack(rawBytes, (world, bytes) => world.sendBytes(bytes)) },
  adapters: {
    share: 0.2,
    answered: 0.05,
    property: attack(
      fc.tuple(hostileAdapter(new TinyPolicy(TARGETS[0])), fc.constantFrom("framed", "base64", "path")),
      (world, [adapter, form]) => world.upload(adapter, form),
    ),
  },
  calls: {
    share: 0.1,
    answered: 0.1,
    property: attack(hostileCall, (world, { method, message }) => world.call(method, message)),
  },
} as const satisfies Record<string, { share: number; answered: number; property: AttackProperty }>;

export type AttackName = keyof typeof ATTACKS;

export const ATTACK_NAMES = Object.keys(ATTACKS) as AttackName[];

/** How an attack ended. */
export interface AttackOutcome {
  readonly cases: number;
  /** What failed, smallest, with what brings it back; absent when all held. */
  readonly failure?: string;
}

type AttackProperty = (world: FuzzWorld) => fc.IAsyncProperty<[unknown]>;

/** Runs cases of an attack; the first that fails is made smaller. */
export async function runAttack(
  world: FuzzWorld,
  name: AttackName,
  { cases, seed, path }: { readonly cases: number; readonly seed: number; readonly path?: string },
): Promise<AttackOutcome> {
  const details = await fc.check(ATTACKS[name].property(world), {
    numRuns: cases,
    seed,
    ...(path !== undefined && { path }),
  });
  await world.restore();
  await world.checkIdle();
  if (!details.failed) return { cases: details.numRuns };
  const error = details.errorInstance;
  const failure = [
    `${name}: seed ${details.seed}, path ${details.counterexamplePath}`,
    fc.stringify(details.counterexample),
    error instanceof Error ? error.message : String(error),
  ].join("\n");
  return { cases: details.numRuns, failure };
}

/** After each case the sound request must get its numbers. */
function attack<T>(
  cases: fc.Arbitrary<T>,
  act: (world: FuzzWorld, attack: T) => Promise<void>,
): AttackProperty {
  return (world) =>
    fc.asyncProperty(cases, async (one) => {
      await act(world, one);
      await world.checkCanary();
    });
}
