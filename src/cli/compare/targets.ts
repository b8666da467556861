/** Which targets a comparison can have: each is tried, and every mode verified there, before anything is measured. */
import type { Team } from "../../../models/team.ts";
import { LorasaError } from "../../base/errors.ts";
import type { Precision } from "../../checkpoint/repository.ts";
import { faultText } from "../../runtime/choose.ts";
import { createRuntime } from "../../runtime/onnxruntime.ts";
import { deviceFault } from "../../runtime/probe.ts";
import type { Device } from "../../runtime/session.ts";
import type { Mode, Target } from "./contract.ts";
import { type Differences, verifyModes } from "./verify-modes.ts";

/** A target on which every mode gave the right actions. */
export type VerifiedTarget = Target & Differences;

/** A device, or one precision of it, that is not measured, and why in one line. */
export interface MissingTarget {
  readonly device: Device;
  /** Absent where it is the device. */
  readonly precision?: Precision;
  readonly reason: string;
}

/** What keeps a precision out where others can be measured; anything else ends the comparison. */
const KEEPS_OUT: Readonly<Record<Precision, readonly string[]>> = {
  fp32: ["LORASA_DEVICE"],
  // Weights that float16 does not hold, and actions that differ too much: an export would be refused too.
  fp16: ["LORASA_DEVICE", "LORASA_RANGE", "LORASA_VERIFY"],
};

/**
 * Every precision on every device, in that order.
 * @throws LORASA_VERIFY; and what keeps the first one out where none is left.
 */
export function verifyTargets(
  team: Team,
  modes: readonly Mode[],
  asked: { readonly devices: readonly Device[]; readonly precisions: readonly Precision[] },
  progress: (line: string) => void,
): { readonly targets: readonly VerifiedTarget[]; readonly missing: readonly MissingTarget[] } {
  const targets: VerifiedTarget[] = [];
  const missing: (MissingTarget & { readonly error: LorasaError })[] = [];
  for (const device of asked.devices) {
    const runtime = createRuntime(device);
    const fault = deviceFault(runtime);
    if (fault) missing.push({ device, reason: faultText(fault), error: fault });
    for (const precision of fault ? [] : asked.precisions) {
      progress(`verifying that every mode gives the same actions on ${device}, ${precision}`);
      try {
        targets.push({ device, precision, ...verifyModes(team, modes, runtime, precision) });
      } catch (error) {
        if (!(error instanceof LorasaError) || !KEEPS_OUT[precision].includes(error.code)) throw error;
        const reason = error.code === "LORASA_DEVICE" ? faultText(error) : error.message;
        missing.push({ device, precision, reason, error });
      }
    }
  }
  if (targets.length === 0) throw missing[0]!.error;
  return { targets, missing: missing.map(({ error: _, ...target }) => target) };
}

/** Such as `webgpu is left out: no driver or adapter`. */
export function missingText({ device, precision, reason }: MissingTarget): string {
  return `${device}${precision === undefined ? "" : ` in ${precision}`} is left out: ${reason}`;
}
