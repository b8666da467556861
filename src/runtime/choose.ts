/** Picks a device by a short measurement, and says why. Not what is measured. */
import { LorasaError } from "../base/errors.ts";
import { formatMicroseconds } from "../base/format.ts";
import { createRuntime } from "./onnxruntime.ts";
import { DEVICES, type Device, type Runtime } from "./session.ts";

/** A device to be picked, or the one that is quickest. */
export const DEVICE_CHOICES = [...DEVICES, "auto"] as const;
export type DeviceChoice = (typeof DEVICE_CHOICES)[number];

/** How long the work took on a device, or why it was not done there. */
export type DeviceTime =
  | { readonly device: Device; readonly ms: number }
  | { readonly device: Device; readonly fault: string };

/** The runtimes of `choice`: for `auto` every device, whether it works or not. */
export function candidates(choice: DeviceChoice): readonly Runtime[] {
  return (choice === "auto" ? DEVICES : [choice]).map(createRuntime);
}

/** What a device says when it cannot be used, without the advice to take another one. */
export function faultText({ message }: LorasaError): string {
  return message.match(/received ([^;]*)/)?.[1] ?? message;
}

/**
 * The quickest device.
 * @throws LORASA_DEVICE when none did the work.
 */
export function quickest(times: readonly DeviceTime[]): Device {
  const measured = times.flatMap((time) => ("ms" in time ? [time] : []));
  const best = measured.reduce<(typeof measured)[number] | undefined>(
    (least, time) => (least && least.ms <= time.ms ? least : time),
    undefined,
  );
  if (best) return best.device;
  throw new LorasaError("LORASA_DEVICE", {
    asked: "the quickest device",
    expected: "one that works",
    received: times.map((time) => `${time.device}: ${"fault" in time ? time.fault : ""}`).join(", "),
  });
}

/** Such as `cpu: a team request takes 30 µs, on webgpu 900 µs; cuda: no driver`. */
export function choiceText(what: string, times: readonly DeviceTime[]): string {
  const chosen = quickest(times);
  const own = times.find(({ device }) => device === chosen);
  const others = times.filter((time) => time !== own);
  const measured = others.flatMap((time) => ("ms" in time ? [`on ${time.device} ${duration(time.ms)}`] : []));
  const faults = others.flatMap((time) => ("fault" in time ? [`${time.device}: ${time.fault}`] : []));
  const advice = chosen === "cpu" && measured.length > 0 ? ["small policies are often quickest there"] : [];
  const head = `${chosen}: ${what} takes ${own && "ms" in own ? duration(own.ms) : "?"}`;
  return [[head, ...measured].join(", "), ...advice, ...faults].join("; ");
}

function duration(ms: number): string {
  return formatMicroseconds(1000 * ms);
}
