/** Checks a value against the part of JSON Schema that the API's description uses. Fields that are not described fail. */

type Schema = Readonly<Record<string, unknown>>;
type Schemas = Readonly<Record<string, Schema>>;

const ANNOTATIONS = ["description", "contentEncoding"];

/** Every fault as `path: what is wrong`; throws for a keyword that it does not know. */
export function schemaFaults(schema: Schema, value: unknown, schemas: Schemas, path = "$"): string[] {
  const faults = Object.entries(schema).flatMap(([keyword, rule]) => {
    if (ANNOTATIONS.includes(keyword)) return [];
    const check = KEYWORDS[keyword];
    if (!check) throw new Error(`${keyword} is not a keyword that this check knows`);
    return check({ rule, schema, value, schemas, path });
  });
  return [...faults, ...undescribed(schema, value, schemas, path)];
}

interface Case {
  readonly rule: unknown;
  readonly schema: Schema;
  readonly value: unknown;
  readonly schemas: Schemas;
  readonly path: string;
}

/** Each looks at one keyword; a value of another type is another keyword's concern. */
const KEYWORDS: Readonly<Record<string, (one: Case) => string[]>> = {
  $ref: ({ rule, value, schemas, path }) => schemaFaults(resolve(rule, schemas), value, schemas, path),
  type: ({ rule, value, path }) =>
    ([rule].flat() as string[]).some((type) => isOfType(type, value))
      ? []
      : [`${path}: ${JSON.stringify(value)} is not ${[rule].flat().join(" or ")}`],
  const: ({ rule, value, path }) => (value === rule ? [] : [`${path}: is not ${rule}`]),
  enum: ({ rule, value, path }) =>
    (rule as unknown[]).includes(value) ? [] : [`${path}: ${JSON.stringify(value)} is none of ${rule}`],
  pattern: ({ rule, value, path }) =>
    typeof value !== "string" || new RegExp(String(rule), "u").test(value)
      ? []
      : [`${path}: ${JSON.stringify(value)} does not match ${rule}`],
  minimum: ({ rule, value, path }) =>
    typeof value !== "number" || value >= Number(rule) ? [] : [`${path}: ${value} is less than ${rule}`],
  maxLength: ({ rule, value, path }) =>
    typeof value !== "string" || value.length <= Number(rule) ? [] : [`${path}: longer than ${rule}`],
  maxItems: ({ rule, value, path }) =>
    !Array.isArray(value) || value.length <= Number(rule) ? [] : [`${path}: more than ${rule}`],
  items: ({ rule, value, schemas, path }) =>
    Array.isArray(value)
      ? value.flatMap((item, at) => schemaFaults(rule as Schema, item, schemas, `${path}[${at}]`))
      : [],
  required: ({ rule, value, path }) =>
    isObject(value)
      ? (rule as string[]).filter((name) => !(name in value)).map((name) => `${path}: has no ${name}`)
      : [],
  properties: ({ rule, value, schemas, path }) =>
    isObject(value)
      ? Object.entries(rule as Schemas).flatMap(([name, schema]) =>
          name in value ? schemaFaults(schema, value[name], schemas, `${path}.${name}`) : [],
        )
      : [],
  additionalProperties: ({ rule, schema, value, schemas, path }) => {
    if (!isObject(value) || rule === true) return [];
    const others = Object.keys(value).filter((name) => !(name in ((schema["properties"] as Schemas) ?? {})));
    if (rule === false) return others.map((name) => `${path}: ${name} is too much`);
    return others.flatMap((name) => schemaFaults(rule as Schema, value[name], schemas, `${path}.${name}`));
  },
  anyOf: ({ rule, value, schemas, path }) =>
    (rule as Schema[]).some((schema) => schemaFaults(schema, value, schemas, path).length === 0)
      ? []
      : [`${path}: fits none of the forms`],
  allOf: ({ rule, value, schemas, path }) =>
    (rule as Schema[])
      .flatMap((schema) => schemaFaults(schema, value, schemas, path))
      // A field that another part describes is described.
      .filter((fault) => !fault.startsWith(`${path}: undescribed`)),
};

/** Fields that no part of the schema names, where it names any. */
function undescribed(schema: Schema, value: unknown, schemas: Schemas, path: string): string[] {
  if (!isObject(value) || "$ref" in schema || "additionalProperties" in schema) return [];
  const known = describedNames(schema, schemas);
  return known
    ? Object.keys(value)
        .filter((name) => !known.includes(name))
        .map((name) => `${path}: undescribed ${name}`)
    : [];
}

function describedNames(schema: Schema, schemas: Schemas): string[] | undefined {
  const target = "$ref" in schema ? resolve(schema["$ref"], schemas) : schema;
  if ("allOf" in target) {
    return (target["allOf"] as Schema[]).flatMap((part) => describedNames(part, schemas) ?? []);
  }
  return "properties" in target ? Object.keys(target["properties"] as Schemas) : undefined;
}

function resolve(reference: unknown, schemas: Schemas): Schema {
  const name = String(reference).replace("#/components/schemas/", "");
  const schema = schemas[name];
  if (!schema) throw new Error(`there is no schema ${reference}`);
  return schema;
}

function isOfType(type: string, value: unknown): boolean {
  if (type === "integer") return Number.isSafeInteger(value);
  if (type === "array") return Array.isArray(value);
  if (type === "null") return value === null;
  if (type === "object") return isObject(value);
  return typeof value === type;
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
