/** Random teams in every mode, random batches: each answer is the request's own, in one mode as in another. */
import { test } from "node:test";
import fc from "fast-check";
import { createRuntime } from "../../src/runtime/onnxruntime.ts";
import {
  assertSameAnswer,
  batchAnswers,
  type DrawnRequest,
  drawnCases,
  drawnRequest,
  type SERVED_MODES,
  serveModes,
} from "../helpers/random-requests.ts";

/** Fixed: two choices that score the same within rounding may be told apart either way. */
const SEED = 2611;
/** Modes multiply in another order too, over a recurrent layer. */
const BETWEEN_MODES = { atol: 1e-5, rtol: 1e-5 };

test("batches of random requests to random teams answer as each request alone, in every mode", async () => {
  await fc.assert(
    fc.asyncProperty(drawnCases, async ({ options, requests }) => {
      const own = requests.filter(({ variant }) => !variant);
      const others = requests.filter(({ variant }) => variant);
      await serveModes(options, [createRuntime()], async (service) => {
        const draw = (mode: (typeof SERVED_MODES)[number]) => (drawn: DrawnRequest) =>
          drawnRequest(service!, mode, drawn);
        const merged = await batchAnswers(service!, own.map(draw("merged")));
        const stacked = await batchAnswers(service!, own.map(draw("stacked")));
        const factored = await batchAnswers(service!, [...own, ...others].map(draw("factored")));
        for (const [at, answer] of merged.entries()) {
          assertSameAnswer(stacked[at]!, answer, BETWEEN_MODES, `stacked and merged, request ${at}`);
          assertSameAnswer(factored[at]!, answer, BETWEEN_MODES, `factored and merged, request ${at}`);
        }
      });
    }),
    // Each case is three exports: to make a failing one smaller would take minutes.
    { numRuns: 8, seed: SEED, endOnFailure: true },
  );
});
