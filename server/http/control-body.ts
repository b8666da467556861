/** Bodies of management requests that carry no adapter: small, often empty, every field known. */
import type { IncomingMessage } from "node:http";
import { LorasaError } from "../../src/base/errors.ts";
import { CONTROL_LIMIT_BYTES } from "../limits.ts";
import { parseJson, parseParameters } from "../protocol/request.ts";
import { readBody } from "./body.ts";

/** The filter of an index: a body that is empty, `{}` or `{"ready": true}`. */
export async function readReadyFilter(request: IncomingMessage): Promise<boolean> {
  return readFlag("ready", (await readObject(request, ["ready"]))["ready"], false);
}

/**
 * The flags of a body that is empty, `{}` or `{"parameters": {…}}`.
 * @param known each flag with what it is when not given.
 * @param explain says more than "unknown" of a parameter's name, where there is more to say.
 * @throws LORASA_REQUEST for an unknown parameter, or one that is neither true nor false.
 */
export async function readFlags<K extends string>(
  request: IncomingMessage,
  known: Readonly<Record<K, boolean>>,
  explain?: (name: string) => string | undefined,
): Promise<Readonly<Record<K, boolean>>> {
  const parameters = parseParameters("parameters", (await readObject(request, ["parameters"]))["parameters"]);
  for (const name of Object.keys(parameters)) {
    if (Object.hasOwn(known, name)) continue;
    throw fieldError(`parameters.${name}`, listed(Object.keys(known)), explain?.(name) ?? "an unknown name");
  }
  const flags = Object.entries<boolean>(known).map(([name, otherwise]) => [
    name,
    readFlag(`parameters.${name}`, parameters[name], otherwise),
  ]);
  // One entry for each name of `known`.
  return Object.fromEntries(flags) as Record<K, boolean>;
}

async function readObject(
  request: IncomingMessage,
  known: readonly string[],
): Promise<Readonly<Record<string, unknown>>> {
  const body = await readBody(request, CONTROL_LIMIT_BYTES);
  const value = body.length === 0 ? {} : parseJson(body);
  const unknown = Object.keys(value).find((name) => !known.includes(name));
  if (unknown === undefined) return value;
  throw fieldError(unknown, listed(known), "an unknown name");
}

function readFlag(field: string, value: unknown, otherwise: boolean): boolean {
  if (value === undefined) return otherwise;
  if (typeof value === "boolean") return value;
  throw fieldError(field, "true or false", value === null ? "null" : `a ${typeof value}`);
}

function listed(names: readonly string[]): string {
  return names.length === 0 ? "no parameters" : names.join(", ");
}

function fieldError(field: string, expected: string, received: string): LorasaError {
  const asked = `request body, ${JSON.stringify(field.slice(0, 80)).slice(1, -1)}`;
  return new LorasaError("LORASA_REQUEST", { asked, expected, received });
}
