/**
 * One simulator as the trainer knows it: its environments in parts, and its commands by their numbers. Not when it is told
 * what (`simulators.ts`).
 *
 * A simulator's environments of one group are a part. A command goes to one part, and a simulator has one command under
 * way at a time: while the policy infers for one group, the simulator steps its environments of the other.
 */
import { LorasaError } from "../../base/errors.ts";
import type { AnswerArrays } from "./answer.ts";
import type { Command } from "./command.ts";
import { wrong } from "./spaces.ts";

/**
 * idle: no episode may begin yet; reset and act: to be told; resetting and acting: told; fresh: its first observations
 * are here, and the trainer has not seen all of them; shown: the trainer sees them.
 */
export type PartState = "idle" | "reset" | "resetting" | "fresh" | "shown" | "act" | "acting";

export interface Part {
  readonly group: number;
  /** Within the group, and as the simulator counts them. */
  readonly own: readonly number[];
  readonly environments: readonly number[];
  state: PartState;
  /** The trainer wants another episode than the one under way. */
  again: boolean;
  fresh: AnswerArrays | undefined;
}

/** Answers a request. */
export type Reply = (command: Command) => void;

/** A command under way, kept so that it can be told again, and whose it is. */
export interface Told {
  readonly command: Extract<Command, { kind: "reset" | "act" }>;
  readonly part: Part;
  readonly at: number;
}

export interface Simulator {
  readonly name: string;
  /** How many environments it runs at most. */
  readonly most: number;
  parts: Part[];
  /** Number of the last command, and of the last that was answered. */
  sent: number;
  answered: number;
  told: Told | undefined;
  /** The request that waits for the next command. */
  waiting: Reply | undefined;
  seenAt: number;
}

/** Without an environment yet. */
export function newSimulator(name: string, most: number, seenAt: number): Simulator {
  return { name, most, parts: [], sent: 0, answered: 0, told: undefined, waiting: undefined, seenAt };
}

/** How many environments a simulator has. */
export function countOf({ parts }: Simulator): number {
  return parts.reduce((sum, { own }) => sum + own.length, 0);
}

/** Environments `own` of a group, which the simulator counts on from those that it has. */
export function addPart(
  simulator: Simulator,
  { group, own, state }: Pick<Part, "group" | "own" | "state">,
): void {
  const first = countOf(simulator);
  const environments = own.map((_, i) => first + i);
  simulator.parts.push({ group, own, environments, state, again: false, fresh: undefined });
}

/** One command steps all that the trainer sees of a group: environments that came later join those that were there. */
export function joinShown(simulator: Simulator, group: number): void {
  const shown = simulator.parts.filter((part) => part.group === group && part.state === "shown");
  if (shown.length < 2) return;
  const joined: Part = {
    ...shown[0]!,
    own: shown.flatMap(({ own }) => own),
    environments: shown.flatMap(({ environments }) => environments),
  };
  simulator.parts = [...simulator.parts.filter((part) => !shown.includes(part)), joined];
}

/** An answer to something else than the command under way. */
export function outOfTurn({ sent, answered }: Simulator, received: number): LorasaError {
  if (received > sent) return wrong("sequence", `at most ${sent}, the last command's`, received);
  return new LorasaError("LORASA_SIMULATOR", {
    asked: `the answer to command ${received}`,
    expected: `one to command ${sent}${sent === answered ? "" : `, or ${answered} to be told it again`}`,
    received: "one that is over",
    mend: "send one request at a time; register again if the commands are lost",
  });
}
