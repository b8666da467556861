/** What is said when an adapter cannot be loaded, found or left alone. */
import { LorasaError } from "../../src/base/errors.ts";

export function gone(name: string, received: string, cause?: unknown): LorasaError {
  return new LorasaError("LORASA_UNAVAILABLE", {
    asked: `adapter ${name}`,
    expected: "the files that it was loaded from",
    received,
    mend: "push it again",
    cause,
  });
}

export function changing(name: string, model: string): LorasaError {
  return new LorasaError("LORASA_UNAVAILABLE", {
    asked: `adapter ${name.slice(0, 80)}`,
    expected: `model ${model} to stay`,
    received: "one that is being loaded again or unloaded",
    mend: "try again",
  });
}

export function loadedAlready(name: string): LorasaError {
  return new LorasaError("LORASA_EXISTS", {
    asked: `adapter ${name}`,
    expected: "load_inplace true to replace the loaded one",
    received: "a load without it",
    mend: 'add "load_inplace": true to the parameters',
  });
}

export function wrongChecksum(name: string, expected: string, received: string): LorasaError {
  return new LorasaError("LORASA_CHECKSUM", {
    asked: `adapter ${name}, SHA-256 of its tensors`,
    expected: expected.slice(0, 64),
    received,
    mend: "send it again",
  });
}

export function busy(name: string, expected: string, received: string, mend: string): LorasaError {
  return new LorasaError("LORASA_BUSY", { asked: `unloading adapter ${name}`, expected, received, mend });
}
