/** Whatever is asked of adapters at once is done as if it were asked one after the other, by name. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { AdapterStatus } from "../../server/engine/service.ts";
import { LorasaError } from "../../src/base/errors.ts";
import { assertClose } from "../helpers/close.ts";
import {
  adapterFiles,
  ask,
  expectedAction,
  floats,
  openTiny,
  type TinyEngine,
} from "../helpers/engine-service.ts";

const OBSERVATION = [0.5, -1, 2];
const OBS = { obs: floats([1, 3], OBSERVATION) };

type Operation =
  | { readonly kind: "load"; readonly replace: boolean; readonly seed: number; readonly pin: boolean }
  | { readonly kind: "bad load" | "rollback" | "unload" | "pin" | "unpin" };

const operation: fc.Arbitrary<Operation> = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant("load" as const),
      replace: fc.boolean(),
      seed: fc.integer({ min: 1, max: 1000 }),
      pin: fc.boolean(),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constantFrom("bad load", "rollback", "unload", "pin", "unpin"),
    }) as fc.Arbitrary<Operation>,
  },
);

const asked = fc.record({ name: fc.constantFrom("a", "b"), operation });

/** What an adapter should be, by hand. */
interface Expected {
  version: number;
  seed: number | undefined;
  previous: number | undefined;
  pinned: boolean;
}

test("loads, rollbacks, pins and unloads that are asked for together keep their order and lose no version", async (context) => {
  const engine = await openTiny(context, { mode: "factored" });
  let round = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(asked, { minLength: 1, maxLength: 16 }), async (all) => {
      round += 1;
      const nameOf = (name: string): string => `agent_0.${name}${round}`;
      const expected = new Map<string, Expected>();
      // All at once: nothing is awaited in between.
      const answers = all.map((each) => outcome(run(engine, nameOf(each.name), each.operation)));
      for (const [at, { name, operation }] of all.entries()) {
        const known = expected.get(name) ?? {
          version: 0,
          seed: undefined,
          previous: undefined,
          pinned: false,
        };
        expected.set(name, known);
        const wanted = apply(known, operation);
        assert.deepEqual(await answers[at], wanted, `${at}: ${operation.kind} ${name}`);
      }
      for (const [name, known] of expected) await checkAnswer(engine, nameOf(name), known);
    }),
    { numRuns: 60 },
  );
});

function run(engine: TinyEngine, name: string, operation: Operation): Promise<AdapterStatus> {
  const adapters = engine.adapters();
  if (operation.kind === "load") {
    const { replace, pin, seed } = operation;
    return adapters.load(name, { files: adapterFiles(engine.policy.adapter(seed)), replace, pin });
  }
  if (operation.kind === "bad load") {
    return adapters.load(name, { files: { config: "{", tensors: new Uint8Array() }, replace: true });
  }
  if (operation.kind === "rollback") return adapters.rollback(name);
  if (operation.kind === "unload") return adapters.unload(name, true);
  return adapters.pin(name, operation.kind === "pin");
}

/** What the status says that the model by hand has too, or the code of the error. */
async function outcome(promise: Promise<AdapterStatus>): Promise<unknown> {
  try {
    const { version, previousVersion, pinned, state } = await promise;
    return { version, previousVersion, pinned, state };
  } catch (error) {
    return error instanceof LorasaError ? error.code : error;
  }
}

/** Changes the expected state; what `outcome` should be. */
function apply(known: Expected, operation: Operation): unknown {
  const loaded = known.seed !== undefined;
  switch (operation.kind) {
    case "load":
      if (loaded && !operation.replace) return "LORASA_EXISTS";
      install(known, operation.seed);
      known.pinned ||= operation.pin;
      return statusOf(known);
    case "bad load":
      return "LORASA_ADAPTER";
    case "rollback":
      if (!loaded || known.previous === undefined) return "LORASA_UNKNOWN_ADAPTER";
      install(known, known.previous);
      return statusOf(known);
    case "unload":
      if (!loaded) return "LORASA_UNKNOWN_ADAPTER";
      if (known.pinned) return "LORASA_BUSY";
      Object.assign(known, { seed: undefined, previous: undefined });
      return statusOf(known);
    default:
      if (!loaded) return "LORASA_UNKNOWN_ADAPTER";
      known.pinned = operation.kind === "pin";
      return statusOf(known);
  }
}

function install(known: Expected, seed: number): void {
  known.previous = known.seed;
  known.seed = seed;
  known.version += 1;
}

function statusOf({ version, seed, previous, pinned }: Expected): object {
  const previousVersion = previous === undefined ? 0 : version - 1;
  return { version, previousVersion, pinned, state: seed === undefined ? "UNAVAILABLE" : "READY" };
}

async function checkAnswer(engine: TinyEngine, name: string, { seed, version }: Expected): Promise<void> {
  if (seed === undefined) {
    await assert.rejects(ask(engine, "team.agent_0", OBS, { adapter_id: name }), {
      code: "LORASA_UNKNOWN_ADAPTER",
    });
    return;
  }
  const { outputs, versions } = await ask(engine, "team.agent_0", OBS, { adapter_id: name });
  assert.deepEqual(versions, { [name]: version });
  assertClose(outputs["action"]!, expectedAction(engine.policy, OBSERVATION, 0, seed), {}, name);
}
