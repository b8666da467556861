/** What every command has in common: its flags, its answer as text or JSON, and errors in one line. */
import { type Command, InvalidArgumentError } from "commander";
import { LorasaError } from "../base/errors.ts";

/** What a command answers: JSON for `--json`, and text for a person. */
export interface CommandAnswer {
  readonly json: object;
  readonly text: string;
}

/** Adds `--json`; every command has it. */
export function withJson(command: Command): Command {
  return command.option("--json", "print one JSON object as the last line of standard output");
}

/** Runs a command's work, prints its answer and ends with the code that the outcome has. */
export async function answer(
  options: { readonly json?: boolean },
  work: () => Promise<CommandAnswer>,
): Promise<void> {
  try {
    const { json, text } = await work();
    process.stdout.write(`${options.json ? JSON.stringify(json) : text}\n`);
  } catch (error) {
    process.exitCode = report(error, options.json ?? false);
  }
}

/** One line on standard error, or an object with `--json`; a stack only with LORASA_DEBUG, for what is not expected. */
export function report(error: unknown, json: boolean): number {
  const known = error instanceof LorasaError;
  const code = known ? error.code : "INTERNAL";
  const message = error instanceof Error ? error.message : String(error);
  if (json) process.stdout.write(`${JSON.stringify({ error: { code, message } })}\n`);
  process.stderr.write(`lorasa: ${message} [${code}]\n`);
  if (process.env["LORASA_DEBUG"] && error instanceof Error) process.stderr.write(`${error.stack}\n`);
  return known ? error.exitCode : 1;
}

/** A whole number of at least `least`, also written as 1e6, 1M or 200k. */
export function wholeNumber(least: number): (text: string) => number {
  return (text) => {
    const number = parseNumber(text);
    if (Number.isInteger(number) && number >= least) return number;
    throw new InvalidArgumentError(
      `expected a whole number of at least ${least}, such as ${Math.max(least, 1)} or 200k.`,
    );
  };
}

/** A number inside [low, high], also with k or M behind it. */
export function numberIn(low: number, high: number): (text: string) => number {
  return (text) => {
    const number = parseNumber(text);
    if (number >= low && number <= high) return number;
    throw new InvalidArgumentError(`expected a number from ${low} to ${high}.`);
  };
}

function parseNumber(text: string): number {
  const [, digits, suffix] = /^([0-9.]+(?:e[+-]?[0-9]+)?)([kM]?)$/.exec(text) ?? [];
  return Number(digits) * (suffix === "M" ? 1e6 : suffix === "k" ? 1e3 : 1);
}
