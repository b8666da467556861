/** An experiment file: the runs that somebody asks for, as JSON. Not the runs themselves, which are `grid.ts`. */
import { z } from "zod";
import { LorasaError } from "../../base/errors.ts";
import { readJson } from "../../base/files.ts";

/** Fields of the training configuration by name; `preset` names what they are laid over. Their values are checked later. */
const fields = z.record(z.string(), z.json());

/** Which runs are meant: an axis by its label, any other field by its value; a list means any of them. */
const condition = fields;

const experimentFile = z.strictObject({
  name: z
    .string()
    .regex(/^[A-Za-z0-9][A-Za-z0-9._-]*$/, "expected letters, digits, dots, dashes and underscores"),
  about: z.string().min(1),
  base: fields,
  axes: z
    .record(z.string().min(1), z.union([z.array(z.json()).min(1), z.record(z.string().min(1), fields)]))
    .default({}),
  seeds: z.array(z.int().nonnegative()).min(1),
  include: z.array(z.strictObject({ name: z.string().min(1), set: fields })).default([]),
  exclude: z.array(condition).default([]),
  overrides: z.array(z.strictObject({ when: condition, set: fields })).default([]),
  baseline: z.union([z.string(), condition]).exactOptional(),
});

export type ExperimentFile = z.infer<typeof experimentFile>;
export type Fields = z.infer<typeof fields>;

/** @throws LORASA_FILE when it cannot be read or is not JSON; LORASA_CONFIG naming the part that is wrong. */
export function readExperiment(path: string): ExperimentFile {
  return parseExperiment(readJson(path, "experiment"), `experiment ${path}`);
}

/** @throws LORASA_CONFIG naming the part that is wrong. */
export function parseExperiment(input: unknown, what = "experiment"): ExperimentFile {
  const parsed = experimentFile.safeParse(input);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues as [z.core.$ZodIssue];
  const part = issue.path.join(".");
  throw new LorasaError("LORASA_CONFIG", {
    asked: part === "" ? what : `${what}, ${part}`,
    received: issue.message.charAt(0).toLowerCase() + issue.message.slice(1),
    mend: "an experiment has name, about, base, axes, seeds, include, exclude, overrides and baseline",
  });
}
