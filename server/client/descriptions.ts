/** What a server says of its models and adapters, read once from its JSON into words of ours. Not how it is asked. */
import { z } from "zod";
import type { AdaptedLayer, IndexEntry, ModelStatistics } from "../engine/service.ts";
import { serverError } from "./failures.ts";

/** An adapter of a served model. */
export interface AdapterStatus {
  /** Its agent's, or `<agent>.<variant>`. */
  readonly name: string;
  readonly agent: string;
  /** A whole number as text, which rises with each load; empty or 0 before the first. */
  readonly version: string;
  /** READY, or UNAVAILABLE for a reason. */
  readonly state: string;
  readonly reason: string;
  /** In memory; otherwise its next request reads it from its files. */
  readonly resident: boolean;
  readonly pinned: boolean;
  /** Of its tensors' file, in hexadecimal; empty before the first read. */
  readonly sha256: string;
  readonly bytes: number;
  /** Milliseconds since the epoch; 0 for never. */
  readonly loadedAtMs: number;
  readonly lastUsedMs: number;
  /** Version that a rollback restores; empty or 0 when there is none. */
  readonly previousVersion: string;
}

export interface AdapterDescription extends AdapterStatus {
  /** What its backbone takes: the same for every adapter of the model. */
  readonly layers: readonly AdaptedLayer[];
}

/** Facts of a model that say whether an adapter fits; empty where the server does not tell. */
export interface ModelFacts {
  readonly mode: string;
  readonly backboneSha256: string;
  readonly agents: readonly string[];
}

/** A number is written both ways. */
const version = z.union([z.string(), z.number().transform(String)]);

/** Fields that a server does not send are empty. */
const adapterFields = z.looseObject({
  name: z.string(),
  agent: z.string().default(""),
  version,
  state: z.string(),
  reason: z.string().default(""),
  resident: z.boolean().default(false),
  pinned: z.boolean().default(false),
  sha256: z.string().default(""),
  bytes: z.number().default(0),
  loaded_at_ms: z.number().default(0),
  last_used_ms: z.number().default(0),
  previous_version: version.default(""),
});

const layer = z.object({
  name: z.string(),
  in: z.number(),
  out: z.number(),
  rank: z.number(),
  scale: z.number(),
});

const index = z.array(
  z.object({
    name: z.string(),
    version: z.string().default(""),
    state: z.enum(["READY", "UNAVAILABLE", "LOADING", "UNLOADING"]),
    reason: z.string().default(""),
  }),
);

const facts = z
  .looseObject({ properties: z.record(z.string(), z.unknown()).default({}) })
  .transform(({ properties }): ModelFacts => {
    const text = (name: string): string => `${properties[`lorasa.${name}`] ?? ""}`;
    const agents = text("agents");
    return {
      mode: text("mode"),
      backboneSha256: text("backbone_sha256"),
      agents: agents === "" ? [] : agents.split(","),
    };
  });

const statistics = z.object({ model_stats: z.array(z.looseObject({ name: z.string() })) });

/** Readers of replies: each throws LORASA_SERVER, naming the request, for what it is not. */
export const read = {
  adapter: (json, asked): AdapterStatus => adapterStatus(parse(adapterFields, json, asked)),
  adapters: (json, asked): readonly AdapterStatus[] =>
    parse(z.array(adapterFields), json, asked).map(adapterStatus),
  description: (json, asked): AdapterDescription => {
    const { layers, ...fields } = parse(
      adapterFields.extend({ layers: z.array(layer).default([]) }),
      json,
      asked,
    );
    return { ...adapterStatus(fields), layers };
  },
  index: (json, asked): readonly IndexEntry[] => parse(index, json, asked),
  facts: (json, asked): ModelFacts => parse(facts, json, asked),
  // The protocol says the rest of an entry, which nothing here depends on.
  statistics: (json, asked): readonly ModelStatistics[] =>
    parse(statistics, json, asked).model_stats as unknown as readonly ModelStatistics[],
} as const satisfies Record<string, (json: unknown, asked: string) => unknown>;

function adapterStatus(fields: z.infer<typeof adapterFields>): AdapterStatus {
  const { name, agent, version, state, reason, resident, pinned, sha256, bytes } = fields;
  return {
    name,
    agent,
    version,
    state,
    reason,
    resident,
    pinned,
    sha256,
    bytes,
    loadedAtMs: fields.loaded_at_ms,
    lastUsedMs: fields.last_used_ms,
    previousVersion: fields.previous_version,
  };
}

function parse<T>(schema: z.ZodType<T>, json: unknown, asked: string): T {
  const parsed = schema.safeParse(json);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  const where = issue?.path.join(".") || "the whole";
  throw serverError(asked, `an answer that is not the protocol's (${where}: ${issue?.message ?? "wrong"})`);
}
