/** Assertion on lorasa's own errors. */
import assert from "node:assert/strict";
import { type ErrorCode, LorasaError } from "../../src/base/errors.ts";

/** Asserts that `action` throws the code with a message of one line that matches. */
export function assertFails(action: () => unknown, code: ErrorCode, message: RegExp, what?: string): void {
  let error: unknown;
  try {
    action();
  } catch (thrown) {
    error = thrown;
  }
  const label = what === undefined ? "" : `${what}: `;
  assert.ok(error instanceof LorasaError, `${label}expected ${code}, got ${error ?? "no error"}`);
  assert.equal(error.code, code, `${label}${error.message}`);
  assert.match(error.message, message, what);
  assert.ok(!error.message.includes("\n"), `${label}the message has several lines`);
}
