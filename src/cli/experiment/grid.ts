/** The runs of an experiment: every combination of its axes as a whole configuration. Not how they are run. */
import { isDeepStrictEqual } from "node:util";
import { LorasaError, suggestion } from "../../base/errors.ts";
import { envSpec } from "../../envs/registry.ts";
import { parseTrainConfig, type TrainConfig, trainConfig } from "../../training/config.ts";
import { defaultConfig, preset } from "../../training/presets.ts";
import type { ExperimentFile, Fields } from "./experiment-file.ts";

/** Runs that differ in nothing but the seed. */
export interface Group {
  /** Also part of its cells' folder names. */
  readonly name: string;
  /** As a person reads it. */
  readonly title: string;
  /** Its place on every axis; null where a run of `include` has none. */
  readonly labels: Readonly<Record<string, string | null>>;
  /** Of the first seed. */
  readonly config: TrainConfig;
}

/** One run. */
export interface Cell {
  /** Also the name of its folder. */
  readonly name: string;
  readonly group: string;
  readonly config: TrainConfig;
}

export interface Grid {
  readonly file: ExperimentFile;
  readonly groups: readonly Group[];
  /** By seed and then by group, so that every group has its first run early. */
  readonly cells: readonly Cell[];
}

interface Variant {
  readonly label: string;
  /** As it stands in titles: `rank 8` for the value 8 of an axis of values. */
  readonly word: string;
  /** The same in names: `rank8`. */
  readonly slug: string;
  readonly fields: Fields;
}

interface Combination {
  readonly name: string;
  readonly title: string;
  readonly layers: readonly Fields[];
  readonly labels: Readonly<Record<string, string>>;
}

/**
 * Every run with its whole configuration, checked, before anything is run.
 * @throws LORASA_CONFIG naming the run and the field; LORASA_UNKNOWN_TASK.
 */
export function resolveGrid(file: ExperimentFile): Grid {
  refuseSeeds(file);
  const axes = Object.entries(file.axes).map(([name, values]) => [name, variantsOf(name, values)] as const);
  checkConditions(file, new Map(axes));
  const combinations = [...product(axes), ...file.include.map((extra) => included(extra))];
  const made = combinations.map((combination) => makeGroup(file, axes, combination));
  const groups = made.filter(
    ({ labels, config }) => !file.exclude.some((when) => holds(when, labels, config)),
  );
  if (groups.length === 0)
    throw wrong(`experiment ${file.name}`, "at least one run", "none that is not excluded");
  requireDifferent(groups);
  const cells = file.seeds.flatMap((seed) =>
    groups.map((group) => ({
      name: `${group.name}_seed${seed}`,
      group: group.name,
      config: { ...group.config, seed },
    })),
  );
  return { file, groups, cells };
}

/** Whether a run is meant by a condition. */
export function holds(when: Fields, labels: Group["labels"], config: TrainConfig): boolean {
  return Object.entries(when).every(([name, wanted]) => {
    const any = Array.isArray(wanted) ? wanted : [wanted];
    const label = labels[name];
    if (label !== undefined && any.some((value) => labelOf(value) === label)) return true;
    const value = (config as Readonly<Record<string, unknown>>)[name];
    return (
      value !== undefined &&
      (isDeepStrictEqual(value, wanted) || any.some((one) => isDeepStrictEqual(value, one)))
    );
  });
}

function variantsOf(axis: string, values: ExperimentFile["axes"][string]): Variant[] {
  if (!Array.isArray(values))
    return Object.entries(values).map(([label, fields]) => ({
      label,
      word: label,
      slug: slug(label),
      fields,
    }));
  return values.map((value) => {
    const label = labelOf(value);
    const isName = typeof value === "string";
    return {
      label,
      word: isName ? label : `${axis} ${label}`,
      slug: slug(isName ? label : `${axis}${label}`),
      fields: { [axis]: value },
    };
  });
}

function labelOf(value: Fields[string]): string {
  return typeof value === "string" ? value : JSON.stringify(value);
}

function product(axes: readonly (readonly [string, readonly Variant[]])[]): Combination[] {
  if (axes.length === 0) return [{ name: "run", title: "run", layers: [], labels: {} }];
  let all: { words: string[]; slugs: string[]; layers: Fields[]; labels: Record<string, string> }[] = [
    { words: [], slugs: [], layers: [], labels: {} },
  ];
  for (const [axis, variants] of axes) {
    all = all.flatMap(({ words, slugs, layers, labels }) =>
      variants.map(({ word, slug: short, label, fields }) => ({
        words: [...words, word],
        slugs: [...slugs, short],
        layers: [...layers, fields],
        labels: { ...labels, [axis]: label },
      })),
    );
  }
  return all.map(({ words, slugs, layers, labels }) => ({
    name: slugs.join("_"),
    title: words.join(" "),
    layers,
    labels,
  }));
}

function included({ name, set }: ExperimentFile["include"][number]): Combination {
  return { name: slug(name), title: name, layers: [set], labels: {} };
}

/** A word as a part of a folder's name. */
function slug(word: string): string {
  return word.replace(/[^A-Za-z0-9.+-]+/g, "-").replace(/^[.-]+|-+$/g, "");
}

function makeGroup(
  file: ExperimentFile,
  axes: readonly (readonly [string, readonly Variant[]])[],
  { name, title, layers, labels: given }: Combination,
): Group {
  let all = [file.base, ...layers];
  const raw = (): Fields => Object.assign({}, ...all) as Fields;
  for (const { when, set } of file.overrides) {
    // A condition may name fields that only the preset gives, so it is asked of the whole configuration.
    if (holds(when, given, { ...unchecked(all), ...raw() } as unknown as TrainConfig)) all = [...all, set];
  }
  const what = `cell ${name}`;
  const config = parseTrainConfig({ ...unchecked(all), seed: file.seeds[0]! }, what);
  requireTask(config, what);
  const labels = Object.fromEntries(
    axes.map(
      ([axis, variants]) =>
        [axis, given[axis] ?? placeOn(variants, Object.assign({}, ...layers) as Fields)] as const,
    ),
  );
  return { name, title, labels, config };
}

/** @throws what an unknown task or a wrong option of it throws, naming the run. */
function requireTask({ env, envOptions }: TrainConfig, what: string): void {
  try {
    envSpec(env, envOptions);
  } catch (cause) {
    if (!(cause instanceof LorasaError)) throw cause;
    throw new LorasaError(cause.code, { asked: `${what}, env: ${cause.message}`, cause });
  }
}

/** Where a run that was not made from an axis lies on it, if what it sets says so. */
function placeOn(variants: readonly Variant[], set: Fields): string | null {
  const matches = ({ fields }: Variant): boolean =>
    Object.entries(fields).every(([field, value]) => isDeepStrictEqual(set[field], value));
  return variants.find(matches)?.label ?? null;
}

/** The fields of the last preset that is named, under those that are set, later ones over earlier ones. */
function unchecked(layers: readonly Fields[]): Record<string, unknown> {
  const { preset: name, ...set } = Object.assign({}, ...layers) as Fields;
  if (name !== undefined) return { ...preset(String(name)), ...set };
  return { ...defaultConfig(String(set["env"] ?? ""), Number(set["steps"] ?? 0)), ...set };
}

/** Groups are runs of all seeds: a seed in a part that makes or means groups would be another one in silence. */
function refuseSeeds({ axes, base, include, exclude, overrides, baseline }: ExperimentFile): void {
  const parts: readonly (readonly [part: string, names: object])[] = [
    ["axes", axes],
    ["base", base],
    ...Object.entries(axes).flatMap(([axis, variants]) =>
      Array.isArray(variants)
        ? []
        : Object.entries(variants).map(([label, set]) => [`axes.${axis}.${label}`, set] as const),
    ),
    ...include.map(({ name, set }) => [`include ${name}, set`, set] as const),
    ...exclude.map((when) => ["exclude", when] as const),
    ...overrides.flatMap(({ when, set }) => [
      ["overrides, when", when] as const,
      ["overrides, set", set] as const,
    ]),
    ...(typeof baseline === "object" ? [["baseline", baseline] as const] : []),
  ];
  const found = parts.find(([, names]) => "seed" in names);
  if (found)
    throw wrong(
      `${found[0]}.seed`,
      "seeds in a list of their own, seeds, which every group is run with",
      "a seed",
    );
}

/** Names that are neither an axis nor a field, and labels that an axis does not have, would match nothing in silence. */
function checkConditions(file: ExperimentFile, axes: ReadonlyMap<string, readonly Variant[]>): void {
  const conditions: readonly (readonly [string, Fields])[] = [
    ...file.exclude.map((when) => ["exclude", when] as const),
    ...file.overrides.map(({ when }) => ["overrides, when", when] as const),
    ...(typeof file.baseline === "object" ? [["baseline", file.baseline] as const] : []),
  ];
  const known = [...axes.keys(), ...Object.keys(trainConfig.shape)];
  for (const [part, when] of conditions) {
    for (const [name, wanted] of Object.entries(when)) {
      if (!known.includes(name))
        throw wrong(`${part}.${name}`, "an axis or a field", "an unknown name", suggestion(name, known));
      const labels = axes.get(name)?.map(({ label }) => label);
      if (labels === undefined || name in trainConfig.shape) continue;
      const missing = (Array.isArray(wanted) ? wanted : [wanted])
        .map(labelOf)
        .find((one) => !labels.includes(one));
      if (missing !== undefined)
        throw wrong(`${part}.${name}`, `one of ${labels.join(", ")}`, missing, suggestion(missing, labels));
    }
  }
}

function requireDifferent(groups: readonly Group[]): void {
  const seen = new Map<string, Group>();
  for (const group of groups) {
    const other = seen.get(group.name);
    if (other) throw wrong(`cell ${group.name}`, "a name of its own", "two runs of that name");
    const same = [...seen.values()].find(({ config }) => isDeepStrictEqual(config, group.config));
    if (same) throw wrong(`cell ${group.name}`, "a configuration of its own", `that of ${same.name}`);
    seen.set(group.name, group);
  }
}

function wrong(asked: string, expected: string, received: string, mend?: string): LorasaError {
  return new LorasaError("LORASA_CONFIG", { asked, expected, received, ...(mend && { mend }) });
}
