/** What a simulator is told, written as JSON or binary. Not when it is told. */
import type { Layout } from "./layout.ts";

/** One command; those with a sequence number are answered. */
export type Command =
  | {
      readonly kind: "reset";
      readonly sequence: number;
      readonly environments: readonly number[];
      readonly seeds: readonly number[];
    }
  | {
      readonly kind: "act";
      readonly sequence: number;
      readonly environments: readonly number[];
      /** float32 [E, total]: every agent's own action, one environment after another. */
      readonly actions: Float32Array;
    }
  /** Nothing to do yet: ask again. */
  | { readonly kind: "wait"; readonly sequence: number }
  /** Training is over. */
  | { readonly kind: "close"; readonly sequence: number };

/** The body of a reply; binary ones carry actions as float32 after their header. */
export function encodeCommand(command: Command, binary: boolean, layout: Layout): Buffer {
  const { kind, sequence } = command;
  const common = { sequence, command: kind };
  if (kind === "wait" || kind === "close") return write(common, binary);
  if (kind === "reset")
    return write({ ...common, environments: command.environments, seeds: command.seeds }, binary);
  const { environments, actions } = command;
  if (binary) return write({ ...common, environments }, true, actions);
  return write({ ...common, environments, actions: nested(actions, layout) }, false);
}

/** [E][N] numbers of choices, or [E][N][K]. */
function nested(actions: Float32Array, { actions: rows, spec }: Layout): (number | number[])[][] {
  const discrete = spec.actionSpace.kind === "discrete";
  const environments: (number | number[])[][] = [];
  for (let at = 0; at < actions.length; ) {
    environments.push(
      rows.sizes.map((size) => {
        const own = actions.subarray(at, at + size);
        at += size;
        return discrete ? own[0]! : Array.from(own);
      }),
    );
  }
  return environments;
}

/** The header of a binary reply is padded with spaces, so that the numbers after it lie at a multiple of 4. */
function write(fields: object, binary: boolean, numbers?: Float32Array): Buffer {
  const text = JSON.stringify(fields);
  if (!binary) return Buffer.from(text);
  const header = Buffer.from(text.padEnd(Math.ceil(text.length / 4) * 4));
  const length = Buffer.alloc(4);
  length.writeUInt32LE(header.length);
  const tail = numbers
    ? Buffer.from(numbers.buffer, numbers.byteOffset, numbers.byteLength)
    : Buffer.alloc(0);
  return Buffer.concat([length, header, tail]);
}
