/** The API's description against the table of routes, and against what a running server answers. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { OPERATIONS, openApiDocument } from "../../server/http/openapi.ts";
import { ROUTES } from "../../server/http/routes.ts";
import { encodeAdapter } from "../../src/checkpoint/peft.ts";
import { schemaFaults } from "../helpers/json-schema.ts";
import { serveTiny, type TinyServer, TOKEN } from "../helpers/tiny-server.ts";

type Schema = Readonly<Record<string, unknown>>;

interface Reply {
  readonly content?: Readonly<Record<string, { readonly schema?: Schema }>>;
}

interface Described {
  readonly operationId: string;
  readonly security: readonly object[];
  readonly parameters: readonly { readonly name: string; readonly in: string }[];
  readonly requestBody?: { readonly content: Reply["content"] };
  readonly responses: Readonly<Record<string, Reply>>;
}

interface Document {
  readonly paths: Readonly<Record<string, Readonly<Record<string, Described>>>>;
  readonly components: { readonly schemas: Readonly<Record<string, Schema>> };
}

const DOCUMENT = plain(openApiDocument(ROUTES)) as Document;
const { schemas } = DOCUMENT.components;

test("every route is described once, and nothing else is", () => {
  const described = Object.entries(DOCUMENT.paths).flatMap(([path, operations]) =>
    Object.keys(operations).map((verb) => `${verb.toUpperCase()} ${path.replace(/\{(\w+)\}/g, ":$1")}`),
  );
  const routes = ROUTES.map(({ verb, path }) => `${verb} ${path}`);
  assert.deepEqual(described.toSorted(), routes.toSorted());
  const named = new Set(routes.map((route) => route.replace("/versions/:version", "")));
  assert.deepEqual(Object.keys(OPERATIONS).toSorted(), [...named].toSorted());
});

test("a route that nothing is said of cannot be described", () => {
  const route = { verb: "GET", path: "/new", role: "open", summary: "" } as const;
  assert.throws(() => openApiDocument([route]), /GET \/new is not described/);
});

test("names of operations are unique and path parameters are those of the path", () => {
  const ids = operations().map(({ operation }) => operation.operationId);
  assert.equal(new Set(ids).size, ids.length);
  for (const { path, operation } of operations()) {
    const inPath = operation.parameters.filter((one) => one.in === "path").map(({ name }) => `{${name}}`);
    assert.deepEqual(inPath, path.match(/\{\w+\}/g) ?? [], path);
  }
});

test("security is the role's: nothing, an optional token, the token for management", () => {
  const expected = {
    open: [],
    infer: [{}, { inferToken: [] }, { manageToken: [] }],
    manage: [{ manageToken: [] }],
  };
  for (const { verb, path, role } of ROUTES) {
    const operation = DOCUMENT.paths[path.replace(/:(\w+)/g, "{$1}")]![verb.toLowerCase()]!;
    assert.deepEqual(operation.security, expected[role], `${verb} ${path}`);
  }
});

test("every schema is used and every reference leads somewhere", () => {
  const references = [...JSON.stringify(DOCUMENT).matchAll(/#\/components\/schemas\/(\w+)/g)].map(
    ([, name]) => name,
  );
  assert.deepEqual([...new Set(references)].toSorted(), Object.keys(schemas).toSorted());
});

test("the check itself finds what is missing, too much and of another type", () => {
  const schema = { $ref: "#/components/schemas/ModelReady" };
  assert.deepEqual(schemaFaults(schema, { name: "a", ready: true }, schemas), []);
  assert.deepEqual(schemaFaults(schema, { name: 3, more: 1 }, schemas), [
    "$.name: 3 is not string",
    "$: has no ready",
    "$: undescribed more",
  ]);
  const adapter = { $ref: "#/components/schemas/AdapterDescription" };
  assert.ok(schemaFaults(adapter, { layers: [], extra: 1 }, schemas).includes("$: undescribed extra"));
});

test("a running server answers every operation as it is described", async (context) => {
  const server = await serveTiny(context, { mode: "factored", hidden: 2 }, { token: TOKEN });
  const answered = new Set<string>();
  for (const [verb, path, body] of calls(server)) {
    const { pattern, operation } = find(verb, path);
    const label = `${verb} ${path}`;
    if (body !== undefined) assertFits(bodySchema(operation), body, `${label}, request`);
    const headers = { Authorization: `Bearer ${TOKEN}` };
    const sent = body === undefined ? {} : { body: JSON.stringify(body) };
    const reply = await fetch(server.url + path, { method: verb, headers, ...sent });
    const text = await reply.text();
    assert.equal(reply.status, 200, `${label}: ${text}`);
    assertReply(operation, reply, text, label);
    answered.add(`${verb} ${pattern}`);
  }
  const all = operations().map(({ verb, path }) => `${verb} ${path}`);
  assert.deepEqual([...answered].toSorted(), all.toSorted());
});

test("errors have the statuses and the form that are described", async (context) => {
  const { url } = await serveTiny(context, { mode: "factored" }, { token: TOKEN });
  const load = "/v2/repository/models/team/adapters/agent_0/load";
  const cases = [
    ["GET", "/v2/models/nothing", 404, ""],
    ["POST", "/v2/models/team/infer", 400, "{"],
    ["POST", "/v2/models/team/infer", 404, "", "/versions/9"],
    ["POST", load, 401, "{}"],
    ["POST", "/v1/load_lora_adapter", 400, "{}"],
    ["POST", "/v1/unload_lora_adapter", 404, '{"lora_name":"nobody"}'],
  ] as const;
  for (const [verb, path, status, body, version] of cases) {
    const { operation } = find(verb, path);
    const token: Record<string, string> = status === 401 ? {} : { Authorization: `Bearer ${TOKEN}` };
    const target = version ? path.replace("/infer", `${version}/infer`) : path;
    const reply = await fetch(url + target, { method: verb, headers: token, ...(body !== "" && { body }) });
    assert.equal(reply.status, status, path);
    const described = operation.responses[`${status}`];
    assert.ok(described, `${verb} ${path} ${status}`);
    assertFits(described.content!["application/json"]!.schema!, await reply.json(), `${path} ${status}`);
  }
});

test("binary replies have the media type and header that are described", async (context) => {
  const { url } = await serveTiny(context, { mode: "stacked" });
  const { operation } = find("POST", "/v2/models/team/infer");
  const obs = { name: "obs", datatype: "FP32", shape: [1, 2, 3], data: [1, 2, 3, 4, 5, 6] };
  const body = { parameters: { binary_data_output: true }, inputs: [obs] };
  assertFits(bodySchema(operation), body, "request");
  const reply = await fetch(`${url}/v2/models/team/infer`, { method: "POST", body: JSON.stringify(body) });
  assert.equal(reply.headers.get("content-type"), "application/octet-stream");
  assert.ok("application/octet-stream" in operation.responses["200"]!.content!);
  const bytes = Buffer.from(await reply.arrayBuffer());
  const json = bytes.toString("utf8", 0, Number(reply.headers.get("inference-header-content-length")));
  assertFits(operation.responses["200"]!.content!["application/json"]!.schema!, JSON.parse(json), "reply");
});

type Call = readonly [verb: "GET" | "POST", path: string, body?: unknown];

/** One call or more of every operation, in an order in which each succeeds. */
function calls({ policy }: TinyServer): readonly Call[] {
  const files = encodeAdapter(policy.adapter(5));
  const upload = {
    config: Buffer.from(files["adapter_config.json"]!).toString("utf8"),
    "file:adapter_model.safetensors": Buffer.from(files["adapter_model.safetensors"]!).toString("base64"),
    load_inplace: true,
  };
  const inputs = [
    { name: "obs", datatype: "FP32", shape: [1, 2, 3], data: [1, 2, 3, 4, 5, 6] },
    { name: "hidden_in", datatype: "FP32", shape: [1, 2, 2], data: [0, 0, 0, 0] },
  ];
  const managed = "/v2/repository/models/team";
  const adapter = `${managed}/adapters/agent_0`;
  return [
    ["GET", "/v2/health/live"],
    ["GET", "/v2/health/ready"],
    ["GET", "/v2"],
    ["GET", "/v2/"],
    ["GET", "/v2/models/team"],
    ["GET", "/v2/models/team.agent_0/versions/1"],
    ["GET", "/v2/models/team/ready"],
    ["GET", "/v2/models/team/versions/1/ready"],
    ["GET", "/v2/models/team/config"],
    ["GET", "/v2/models/team.agent_1/versions/1/config"],
    ["POST", "/v2/models/team/infer", { id: "a", inputs }],
    ["POST", "/v2/models/team/versions/1/infer", { inputs, outputs: [{ name: "action" }] }],
    ["GET", "/v2/models/team/stats"],
    ["GET", "/v2/models/team/versions/1/stats"],
    ["GET", "/v2/models/stats"],
    ["GET", "/v2/models/team/adapters/agent_0"],
    ["GET", "/v2/models/team/adapters/agent_0/ready"],
    ["POST", `${managed}/adapters/index`],
    ["POST", `${managed}/adapters/index`, { ready: true }],
    ["POST", `${adapter}/load`, { parameters: upload }],
    ["POST", `${adapter}/pin`],
    ["POST", `${adapter}/unpin`],
    ["POST", `${adapter}/rollback`],
    ["POST", `${adapter}/unload`, { parameters: { drain: true } }],
    ["POST", "/v1/load_lora_adapter", { lora_name: "agent_0", lora_path: "agent_1" }],
    ["GET", "/v1/models"],
    ["POST", "/v1/unload_lora_adapter", { lora_name: "agent_0" }],
    ["POST", "/v2/repository/index"],
    ["POST", `${managed}/unload`, { parameters: { unload_dependents: false } }],
    ["POST", `${managed}/load`, {}],
    ["GET", "/metrics"],
    ["GET", "/"],
    ["GET", "/openapi.json"],
  ];
}

function operations(): { verb: string; path: string; operation: Described }[] {
  return Object.entries(DOCUMENT.paths).flatMap(([path, verbs]) =>
    Object.entries(verbs).map(([verb, operation]) => ({ verb: verb.toUpperCase(), path, operation })),
  );
}

/** The operation of a path; one without parameters wins, as the server has it. */
function find(verb: string, path: string): { pattern: string; operation: Described } {
  const patterns = Object.keys(DOCUMENT.paths).toSorted((a, b) => a.split("{").length - b.split("{").length);
  const pattern = patterns.find((one) => new RegExp(`^${one.replace(/\{\w+\}/g, "[^/]+")}$`).test(path));
  const operation = pattern === undefined ? undefined : DOCUMENT.paths[pattern]![verb.toLowerCase()];
  assert.ok(pattern !== undefined && operation, `${verb} ${path} is not described`);
  return { pattern, operation };
}

function bodySchema({ requestBody }: Described): Schema {
  return requestBody!.content!["application/json"]!.schema!;
}

function assertReply(operation: Described, reply: Response, text: string, label: string): void {
  const { content } = operation.responses["200"]!;
  if (!content) {
    assert.equal(text, "", label);
    return;
  }
  const type = (reply.headers.get("content-type") ?? "").split(";")[0]!;
  assert.ok(type in content, `${label}: ${type}`);
  if (type === "application/json") assertFits(content[type]!.schema!, JSON.parse(text), label);
  else assert.ok(text.length > 0, label);
}

function assertFits(schema: Schema, value: unknown, label: string): void {
  assert.deepEqual(schemaFaults(schema, value, schemas), [], label);
}

/** As a client reads it. */
function plain(value: unknown): unknown {
  return JSON.parse(JSON.stringify(value));
}
