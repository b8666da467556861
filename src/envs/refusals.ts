/** What every environment refuses, in the same words. */
import { LorasaError } from "../base/errors.ts";

/** A step after an episode's end. */
export function endedError(env: string): LorasaError {
  return new LorasaError("LORASA_SIMULATOR", {
    asked: `step of ${env}`,
    expected: "an episode under way",
    mend: "call reset after an episode's end",
  });
}

/** Any use of an environment that was closed. */
export function closedError(asked: string, env: string): LorasaError {
  return new LorasaError("LORASA_DISPOSED", { asked: `${asked} of ${env}`, received: "closed" });
}

export function notFiniteError(asked: string, received: string): LorasaError {
  return new LorasaError("LORASA_NOT_FINITE", { asked, expected: "finite numbers", received });
}

/** @throws LORASA_SHAPE for a saved state of another length than the environment's. */
export function requireSavedSize(env: string, saved: Float64Array, expected: number): void {
  if (saved.length === expected) return;
  throw new LorasaError("LORASA_SHAPE", {
    asked: `saved state of ${env}`,
    expected: `${expected} numbers`,
    received: `${saved.length}`,
    mend: "resume with the task that it was saved from",
  });
}
