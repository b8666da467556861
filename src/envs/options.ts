/** Reads environment options strictly: unknown names and values out of range are errors, never ignored. */
import { LorasaError, suggestion } from "../base/errors.ts";
import type { EnvOptions } from "./contract.ts";

/** One of some words, a whole number in a range, or any text. */
type OptionRule =
  | { readonly kind: "choice"; readonly choices: readonly string[]; readonly initial: string }
  | { readonly kind: "whole"; readonly low: number; readonly high: number; readonly initial: number }
  | { readonly kind: "text"; readonly initial: string };

/** The value a rule gives. */
type OptionValue<Rule extends OptionRule> = Rule extends { choices: readonly (infer Word)[] }
  ? Word
  : Rule extends { kind: "whole" }
    ? number
    : string;

/**
 * Every option of `rules` with its value or its initial one. Numbers may be written as text, as flags are.
 * @throws LORASA_CONFIG for an option that is unknown or out of range.
 */
export function parseOptions<Rules extends Readonly<Record<string, OptionRule>>>(
  task: string,
  rules: Rules,
  options: EnvOptions,
): { readonly [Name in keyof Rules]: OptionValue<Rules[Name]> } {
  const known = Object.keys(rules);
  for (const name of Object.keys(options)) {
    if (known.includes(name)) continue;
    const asked = `option ${name} of ${task}`;
    throw new LorasaError("LORASA_CONFIG", {
      asked,
      expected: "an option of this task",
      mend: suggestion(name, known),
    });
  }
  const values = known.map((name) => [name, optionValue(task, name, rules[name]!, options[name])]);
  // Each value was made by the rule of its name.
  return Object.fromEntries(values) as { readonly [Name in keyof Rules]: OptionValue<Rules[Name]> };
}

/** `name?hops=2&observe=full` taken apart; options in the name and given ones must not contradict. */
export function splitName(name: string, options: EnvOptions): { task: string; options: EnvOptions } {
  const at = name.indexOf("?");
  if (at < 0) return { task: name, options };
  const merged: Record<string, string | number | boolean> = { ...options };
  for (const pair of name.slice(at + 1).split("&")) {
    const [key = "", value = ""] = [pair.split("=", 1)[0], pair.slice(pair.indexOf("=") + 1)];
    if (merged[key] !== undefined && String(merged[key]) !== value) {
      throw new LorasaError("LORASA_CONFIG", {
        asked: `option ${key} of ${name}`,
        expected: `${value}, as the name says`,
        received: String(merged[key]),
        mend: "give it once",
      });
    }
    merged[key] = value;
  }
  return { task: name.slice(0, at), options: merged };
}

/** `task` with the options that differ from their initial values: {@link splitName} reads it back. */
export function fullName(
  task: string,
  rules: Readonly<Record<string, OptionRule>>,
  values: Readonly<Record<string, string | number>>,
): string {
  const written = Object.entries(rules)
    .filter(([name, rule]) => values[name] !== undefined && values[name] !== rule.initial)
    .map(([name]) => `${name}=${values[name]}`);
  return written.length === 0 ? task : `${task}?${written.join("&")}`;
}

function optionValue(
  task: string,
  name: string,
  rule: OptionRule,
  given: string | number | boolean | undefined,
): string | number {
  if (given === undefined) return rule.initial;
  if (rule.kind === "choice" && rule.choices.includes(String(given))) return String(given);
  if (rule.kind === "text" && typeof given === "string") return given;
  if (rule.kind === "whole" && typeof given !== "boolean" && String(given).trim() !== "") {
    const value = Number(given);
    if (Number.isInteger(value) && value >= rule.low && value <= rule.high) return value;
  }
  throw new LorasaError("LORASA_CONFIG", {
    asked: `option ${name} of ${task}`,
    expected: expectation(rule),
    received: JSON.stringify(given),
  });
}

function expectation(rule: OptionRule): string {
  if (rule.kind === "choice") return rule.choices.join(" or ");
  if (rule.kind === "whole") return `a whole number from ${rule.low} to ${rule.high}`;
  return "text";
}
