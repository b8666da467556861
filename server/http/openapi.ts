/**
 * The API's description in OpenAPI 3.1, made from the table of routes: which bodies go with each route is said here,
 * how each body looks in the schemas.
 */
import { ERROR_CODES } from "../../src/base/errors.ts";
import { VERSION } from "../../src/base/version.ts";
import { SERVER_NAME } from "../protocol/metadata.ts";
import { ref, SCHEMAS, type Schema, type SchemaName } from "./openapi-schemas.ts";
import type { Route } from "./routes.ts";

/** What of a route is described. */
export type DescribedRoute = Pick<Route, "verb" | "path" | "role" | "summary">;

/** The name of an operation and its bodies. */
interface Operation {
  /** In the words of a function's name: clients are generated from it. */
  readonly id: string;
  readonly tag: "health" | "models" | "inference" | "adapters" | "repository" | "operations" | "vllm";
  readonly body?: SchemaName;
  /** The body may also be JSON with bytes behind it. */
  readonly framed?: "tensors" | "file";
  /** Nothing need be sent. */
  readonly bodyOptional?: boolean;
  /** A schema, a media type of text, or nothing. */
  readonly reply?: SchemaName | `text/${string}`;
  /** Statuses beyond those of its role and names, with what they answer. */
  readonly also?: Readonly<Record<number, SchemaName>>;
}

const VERSIONED = "/versions/:version";

/** By verb and path; one with a version is the operation of the path without it. */
export const OPERATIONS: Readonly<Record<string, Operation>> = {
  "GET /v2/health/live": { id: "serverLive", tag: "health", reply: "ServerLive" },
  "GET /v2/health/ready": {
    id: "serverReady",
    tag: "health",
    reply: "ServerReady",
    also: { 503: "ServerReady" },
  },
  "GET /v2": { id: "serverMetadata", tag: "models", reply: "ServerMetadata" },
  "GET /v2/": { id: "serverMetadataSlash", tag: "models", reply: "ServerMetadata" },
  "GET /v2/models/:model": { id: "modelMetadata", tag: "models", reply: "ModelMetadata" },
  "GET /v2/models/:model/ready": {
    id: "modelReady",
    tag: "models",
    reply: "ModelReady",
    also: { 503: "ModelReady" },
  },
  "GET /v2/models/:model/config": { id: "modelConfig", tag: "models", reply: "ModelConfig" },
  "GET /v2/models/:model/stats": { id: "modelStatistics", tag: "models", reply: "Statistics" },
  "GET /v2/models/stats": { id: "allStatistics", tag: "models", reply: "Statistics" },
  "POST /v2/models/:model/infer": {
    id: "infer",
    tag: "inference",
    body: "InferRequest",
    framed: "tensors",
    reply: "InferResponse",
    also: { 503: "Error" },
  },
  "GET /v2/models/:model/adapters/:adapter": {
    id: "describeAdapter",
    tag: "adapters",
    reply: "AdapterDescription",
  },
  "GET /v2/models/:model/adapters/:adapter/ready": {
    id: "adapterReady",
    tag: "adapters",
    reply: "ModelReady",
  },
  "POST /v2/repository/index": {
    id: "repositoryIndex",
    tag: "repository",
    body: "IndexRequest",
    bodyOptional: true,
    reply: "RepositoryIndex",
  },
  "POST /v2/repository/models/:model/load": {
    id: "loadModel",
    tag: "repository",
    body: "LoadRequest",
    bodyOptional: true,
  },
  "POST /v2/repository/models/:model/unload": {
    id: "unloadModel",
    tag: "repository",
    body: "UnloadRequest",
    bodyOptional: true,
  },
  "POST /v2/repository/models/:model/adapters/index": {
    id: "adapterIndex",
    tag: "adapters",
    body: "IndexRequest",
    bodyOptional: true,
    reply: "AdapterIndex",
  },
  "POST /v2/repository/models/:model/adapters/:adapter/load": {
    id: "loadAdapter",
    tag: "adapters",
    body: "AdapterLoad",
    framed: "file",
    reply: "Adapter",
    also: { 409: "Error" },
  },
  "POST /v2/repository/models/:model/adapters/:adapter/unload": {
    id: "unloadAdapter",
    tag: "adapters",
    body: "AdapterUnload",
    bodyOptional: true,
    reply: "Adapter",
    also: { 409: "Error" },
  },
  "POST /v2/repository/models/:model/adapters/:adapter/pin": {
    id: "pinAdapter",
    tag: "adapters",
    body: "LoadRequest",
    bodyOptional: true,
    reply: "Adapter",
  },
  "POST /v2/repository/models/:model/adapters/:adapter/unpin": {
    id: "unpinAdapter",
    tag: "adapters",
    body: "LoadRequest",
    bodyOptional: true,
    reply: "Adapter",
  },
  "POST /v2/repository/models/:model/adapters/:adapter/rollback": {
    id: "rollbackAdapter",
    tag: "adapters",
    body: "LoadRequest",
    bodyOptional: true,
    reply: "Adapter",
    also: { 409: "Error" },
  },
  "GET /v1/models": { id: "listModelCards", tag: "vllm", reply: "ModelCards" },
  "POST /v1/load_lora_adapter": {
    id: "loadLoraAdapter",
    tag: "vllm",
    body: "LoraLoad",
    reply: "text/plain",
    also: { 400: "LoraError", 404: "LoraError" },
  },
  "POST /v1/unload_lora_adapter": {
    id: "unloadLoraAdapter",
    tag: "vllm",
    body: "LoraUnload",
    reply: "text/plain",
    also: { 400: "LoraError", 404: "LoraError" },
  },
  "GET /metrics": { id: "metrics", tag: "operations", reply: "text/plain" },
  "GET /": { id: "statusPage", tag: "operations", reply: "text/html" },
  "GET /openapi.json": { id: "describeApi", tag: "operations", reply: "ApiDescription" },
};

const TAGS: Readonly<Record<Operation["tag"], string>> = {
  health: "Whether the server runs and takes requests.",
  models: "What is served.",
  inference: "Observations in, actions out.",
  adapters: "Adapters of a factored model: one an agent, and its variants.",
  repository: "Models of the server's folder.",
  operations: "For operators.",
  vllm: "The same adapters for clients made for vLLM.",
};

const SECURITY = {
  open: [],
  // Nothing, either token: a server without a token for inference asks for none.
  infer: [{}, { inferToken: [] }, { manageToken: [] }],
  manage: [{ manageToken: [] }],
} as const satisfies Record<Route["role"], readonly object[]>;

/** @throws TypeError for a route that nothing is said of: a fault of ours. */
export function openApiDocument(routes: readonly DescribedRoute[]): object {
  const paths: Record<string, Record<string, object>> = {};
  for (const route of routes) {
    const path = route.path.replace(/:(\w+)/g, "{$1}");
    paths[path] = { ...paths[path], [route.verb.toLowerCase()]: describeOperation(route) };
  }
  return {
    openapi: "3.1.1",
    info: { title: SERVER_NAME, version: VERSION, description: ABOUT },
    servers: [{ url: "." }],
    tags: Object.entries(TAGS).map(([name, description]) => ({ name, description })),
    paths,
    components: {
      schemas: SCHEMAS,
      securitySchemes: {
        inferToken: { type: "http", scheme: "bearer", description: "The server's token for inference." },
        manageToken: { type: "http", scheme: "bearer", description: "The server's token for management." },
      },
    },
  };
}

const ABOUT = `Serves the policies of a team of agents in the Open Inference Protocol v2.

Bodies of requests may be compressed with gzip or deflate (Content-Encoding); replies are where Accept-Encoding allows it.`;

function describeOperation(route: DescribedRoute): object {
  const operation = OPERATIONS[`${route.verb} ${route.path.replace(VERSIONED, "")}`];
  if (!operation) throw new TypeError(`${route.verb} ${route.path} is not described`);
  const { id, tag } = operation;
  return {
    operationId: route.path.includes(VERSIONED) ? `${id}OfVersion` : id,
    tags: [tag],
    summary: route.summary,
    security: SECURITY[route.role],
    parameters: [...pathParameters(route.path), ...(operation.framed ? [HEADER_LENGTH] : [])],
    ...(operation.body && { requestBody: requestBody(operation.body, operation) }),
    responses: responses(route, operation),
  };
}

const NAMES: Readonly<Record<string, object>> = {
  model: {
    description: "A model, or one of its agents or adapters: team, team.agent_0.",
    schema: nameSchema(386),
  },
  version: { description: "Version of the model.", schema: { type: "string", pattern: "^[0-9]{1,18}$" } },
  adapter: {
    description: "An agent, or one of its variants: agent_0, agent_0.blue.",
    schema: nameSchema(386),
  },
};

const HEADER_LENGTH = {
  name: "Inference-Header-Content-Length",
  in: "header",
  required: false,
  description: "Bytes of the body that are JSON, before compression; the rest is binary.",
  schema: { type: "integer", minimum: 0 },
};

function nameSchema(maxLength: number): Schema {
  return { type: "string", pattern: "^[A-Za-z0-9_-][A-Za-z0-9._-]*$", maxLength };
}

function pathParameters(path: string): object[] {
  return [...path.matchAll(/:(\w+)/g)].map(([, name = ""]) => {
    return { name, in: "path", required: true, ...NAMES[name] };
  });
}

const FRAMED = {
  tensors:
    "The JSON, then the bytes of each input that has binary_data_size, in order, little-endian and without gaps. " +
    "With a header of 0: the bytes of the only input, whose replies are bytes as well.",
  file: "JSON with the text of adapter_config.json as parameters.config, then the bytes of adapter_model.safetensors.",
};

function requestBody(body: SchemaName, { framed, bodyOptional = false }: Operation): object {
  return {
    required: !bodyOptional,
    ...(framed && { description: `As application/octet-stream: ${FRAMED[framed]}` }),
    content: {
      "application/json": { schema: ref(body) },
      ...(framed && { "application/octet-stream": {} }),
    },
  };
}

function responses(route: DescribedRoute, operation: Operation): object {
  const statuses: Record<string, SchemaName> = {};
  for (const status of errorStatuses(route, operation)) statuses[status] = "Error";
  Object.assign(statuses, operation.also);
  return {
    200: success(operation),
    ...Object.fromEntries(
      Object.entries(statuses).map(([status, name]) => {
        const content = { "application/json": { schema: ref(name) } };
        return [status, { description: codesOf(Number(status)), content }];
      }),
    ),
    default: {
      description: "A fault of the server.",
      content: { "application/json": { schema: ref("Error") } },
    },
  };
}

/** What a route may answer by what it has: a role, names, a body. */
function errorStatuses({ role, path }: DescribedRoute, { body }: Operation): readonly number[] {
  return [
    ...(role === "open" ? [] : [401]),
    ...(role === "manage" ? [403, 503] : []),
    ...(path.includes(":") ? [404] : []),
    ...(body ? [400, 413] : []),
  ].sort();
}

/** The codes of a status, as errors begin with them. */
function codesOf(status: number): string {
  const codes = Object.entries(ERROR_CODES).filter(([, row]) => row.status === status);
  return codes.map(([code, { about }]) => `${code}: ${about}`).join(" ");
}

function success({ reply, framed }: Operation): object {
  if (reply === undefined) return { description: "Done; nothing to say." };
  if (reply.startsWith("text/"))
    return { description: "Text.", content: { [reply]: { schema: { type: "string" } } } };
  // What is no text is a schema's name.
  const content = { "application/json": { schema: ref(reply) } };
  if (framed !== "tensors") return { description: "Done.", content };
  return {
    description: "Done. As bytes where outputs were asked for so: the JSON, then each such output in order.",
    headers: {
      [HEADER_LENGTH.name]: { description: HEADER_LENGTH.description, schema: HEADER_LENGTH.schema },
    },
    content: { ...content, "application/octet-stream": {} },
  };
}
