/** While adapters are pushed and rolled back, every reply is of the versions that it names. */
import { test } from "node:test";
import { openTiny } from "../helpers/engine-service.ts";
import { assertUnmixed } from "../helpers/swap-driver.ts";

const SETTINGS = {
  "in the event loop": {},
  "in the worker": { longRunMs: 0 },
  "with one adapter more in memory than agents": { residentAdapters: 2 },
  "with little in a batch": { maxBatchRows: 3 },
} as const;

for (const [where, options] of Object.entries(SETTINGS)) {
  test(`every reply is of the versions that it names, ${where}`, async (context) => {
    await assertUnmixed(await openTiny(context, { mode: "factored" }, options));
  });
}
