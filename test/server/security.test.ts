/** One gate before every route: whatever a path is spelled like, nothing is answered without its token. */
import assert from "node:assert/strict";
import { Agent, request } from "node:http";
import { after, before, type TestContext, test } from "node:test";
import fc from "fast-check";
import { ROUTES, type Route } from "../../server/http/routes.ts";
import { createGate, type GateTokens } from "../../server/http/token.ts";
import { type ErrorCode, LorasaError } from "../../src/base/errors.ts";
import { sha256 } from "../../src/base/files.ts";
import { serveTiny } from "../helpers/tiny-server.ts";

const MANAGE = "the token of those who manage";
const INFER = "the token of those who infer";
const BASE = "/base";

const agent = new Agent({ keepAlive: true, maxSockets: 4 });
/** By base path. */
const origins = new Map<string, string>();
const cleanups: (() => unknown)[] = [];

before(async () => {
  // The suite's servers outlive each test; `after` runs what a test's context would.
  const context = { after: (done: () => unknown) => cleanups.push(done) } as unknown as TestContext;
  for (const basePath of ["", BASE]) {
    const tokens = { token: MANAGE, inferToken: INFER };
    const { url } = await serveTiny(context, { mode: "factored" }, { ...tokens, basePath });
    origins.set(basePath, new URL(url).origin);
  }
});
after(async () => {
  agent.destroy();
  for (const done of cleanups.reverse()) await done();
});

interface Asked {
  readonly verb: string;
  /** As it is sent: nothing is normalized on the way. */
  readonly path: string;
  readonly basePath?: string;
  readonly authorization?: string;
}

interface Answered {
  readonly status: number;
  readonly text: string;
  readonly authenticate: string | undefined;
}

function ask({ verb, path, basePath = "", authorization }: Asked): Promise<Answered> {
  const { hostname, port } = new URL(origins.get(basePath)!);
  const headers = authorization === undefined ? {} : { Authorization: authorization };
  return new Promise((resolve, reject) => {
    const sent = request({ host: hostname, port, path, method: verb, headers, agent }, (response) => {
      let text = "";
      response.setEncoding("utf8").on("data", (chunk) => {
        text += chunk;
      });
      response.on("end", () => {
        const { statusCode = 0, headers } = response;
        resolve({ status: statusCode, text, authenticate: headers["www-authenticate"] });
      });
    });
    sent.on("error", (error: NodeJS.ErrnoException) => {
      // What is no HTTP is refused with a body, also when its verb was to be HEAD: the client cannot read that.
      if (verb !== "HEAD" || !error.code?.startsWith("HPE_")) reject(error);
      else resolve({ status: 400, text: "", authenticate: undefined });
    });
    sent.end();
  });
}

function pathOf({ path }: Route): string {
  return path.replace(":model", "team").replace(":version", "1").replace(":adapter", "agent_0");
}

const GUARDED = ROUTES.filter(({ role }) => role !== "open");
const OPEN_PATHS = ROUTES.filter(({ role }) => role === "open").map(pathOf);

/** Who does not have a role. */
const WITHOUT = {
  infer: [
    undefined,
    "Bearer wrong",
    `Basic ${INFER}`,
    INFER,
    "Bearer",
    `Bearer ${INFER}x`,
    `Bearer ${MANAGE} x`,
  ],
  manage: [
    undefined,
    "Bearer wrong",
    `Bearer ${INFER}`,
    `Basic ${MANAGE}`,
    MANAGE,
    `bearer ${MANAGE.slice(1)}`,
  ],
} as const;

test("each route answers those with its token and nobody else", async () => {
  assert.ok(GUARDED.length > 25, "the table holds every route");
  for (const route of GUARDED) {
    const role = route.role === "manage" ? "manage" : "infer";
    const path = pathOf(route);
    for (const verb of route.verb === "GET" ? ["GET", "HEAD"] : ["POST"]) {
      for (const basePath of ["", BASE]) {
        for (const authorization of WITHOUT[role]) {
          const asked = { verb, path: basePath + path, basePath };
          const reply = await ask(authorization === undefined ? asked : { ...asked, authorization });
          assert.equal(reply.status, 401, `${verb} ${path} ${authorization}`);
          assert.equal(reply.authenticate, "Bearer");
          if (verb !== "HEAD") assert.match(reply.text, /^\{"error":"LORASA_UNAUTHORIZED: [^\n]*"\}$/);
        }
      }
    }
  }
});

test("the token that opens a route leads to its action", async (context) => {
  const tokens = { token: MANAGE, inferToken: INFER };
  const { url } = await serveTiny(context, { mode: "factored" }, tokens);
  for (const route of GUARDED) {
    for (const token of route.role === "manage" ? [MANAGE] : [MANAGE, INFER]) {
      const init = { method: route.verb, headers: { Authorization: `bearer  ${token}` } };
      const reply = await fetch(url + pathOf(route), init);
      assert.ok(![401, 403, 405].includes(reply.status), `${route.verb} ${route.path}: ${reply.status}`);
      assert.notEqual(await reply.text(), '{"error":"Not Found"}', route.path);
    }
  }
});

test("open routes answer everybody, and are no more than health", async () => {
  assert.deepEqual(OPEN_PATHS, ["/v2/health/live", "/v2/health/ready"]);
  for (const path of OPEN_PATHS) {
    assert.equal((await ask({ verb: "GET", path })).status, 200);
    assert.equal((await ask({ verb: "GET", path, authorization: "Bearer wrong" })).status, 200);
  }
});

/** Ways in which others' gates were walked around. Each may make a path that no route has: that is an answer too. */
const SPELLINGS: Readonly<Record<string, (path: string, at: number) => string>> = {
  asItIs: (path) => path,
  upperCase: (path, at) => replaceAt(path, at, (text) => text.toUpperCase()),
  allUpperCase: (path) => path.toUpperCase(),
  encoded: (path, at) => replaceAt(path, at, (text) => `%${text.charCodeAt(0).toString(16)}`),
  encodedTwice: (path, at) => replaceAt(path, at, (text) => `%25${text.charCodeAt(0).toString(16)}`),
  encodedSlash: (path, at) => nthSlash(path, at, "%2f"),
  encodedBackslash: (path, at) => nthSlash(path, at, "%5C"),
  doubleSlash: (path, at) => nthSlash(path, at, "//"),
  backslash: (path, at) => nthSlash(path, at, "\\"),
  dot: (path, at) => nthSlash(path, at, "/./"),
  dots: (path, at) => nthSlash(path, at, "/x/../"),
  encodedDots: (path, at) => nthSlash(path, at, "/x/%2e%2E/"),
  fromHealth: (path) => `/v2/health/live/../../..${path}`,
  fromHealthEncoded: (path) => `/v2/health/live/%2e%2e%2f%2e%2e%2f%2e%2e${path}`,
  trailingSlash: (path) => `${path}/`,
  trailingDot: (path) => `${path}.`,
  trailingSpace: (path) => `${path}%20`,
  trailingNull: (path) => `${path}%00`,
  extension: (path) => `${path}.json`,
  query: (path) => `${path}?role=open&/v2/health/live`,
  emptyQuery: (path) => `${path}?`,
  fragment: (path) => `${path}#/v2/health/live`,
  parameters: (path) => `${path};/v2/health/live`,
  absolute: (path) => `http://127.0.0.1${path}`,
  absoluteElsewhere: (path) => `http://elsewhere.invalid${path}`,
  twoSlashes: (path) => `/${path}`,
  base: (path) => BASE + path,
  baseTwice: (path) => BASE + BASE + path,
  baseUpperCase: (path) => BASE.toUpperCase() + path,
  baseDots: (path) => `${BASE}/..${path}`,
  beforeBase: (path) => `/x/..${BASE}${path}`,
  wideSlash: (path, at) => nthSlash(path, at, "%ef%bc%8f"),
  overlong: (path, at) => nthSlash(path, at, "%c0%af"),
};
const VERBS = ["GET", "POST", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND"];

test("no spelling of a route is answered without its token", async () => {
  const spelled = fc.record({
    route: fc.constantFrom(...GUARDED),
    spellings: fc.array(fc.tuple(fc.constantFrom(...Object.keys(SPELLINGS)), fc.nat(60)), {
      minLength: 1,
      maxLength: 3,
    }),
    verb: fc.constantFrom(...VERBS),
    ownVerb: fc.boolean(),
    basePath: fc.constantFrom("", BASE),
    authorization: fc.constantFrom(undefined, "Bearer wrong", `Bearer ${INFER}`),
  });
  let reached = 0;
  await fc.assert(
    fc.asyncProperty(spelled, async ({ route, spellings, verb, ownVerb, basePath, authorization }) => {
      const plain = (basePath === "" ? "" : BASE) + pathOf(route);
      const path = spellings.reduce((text, [name, at]) => SPELLINGS[name]!(text, at), plain);
      if (/[^\x21-\x7e]/.test(path)) return;
      // The token for inference opens what is open to it: only what it does not open is asked with it.
      const bearer =
        authorization === `Bearer ${INFER}` && route.role !== "manage" ? undefined : authorization;
      const asked = { verb: ownVerb ? route.verb : verb, path, basePath };
      const { status, text } = await ask(bearer === undefined ? asked : { ...asked, authorization: bearer });
      if (status === 401) reached += 1;
      assert.ok(
        [400, 401, 404, 405].includes(status) || isOpen(path),
        `${asked.verb} ${path}: ${status} ${text}`,
      );
    }),
    { numRuns: 3000, endOnFailure: true },
  );
  assert.ok(reached > 100, `only ${reached} paths reached the gate`);
});

/** A spelling may lead to health, which everybody may ask. */
function isOpen(path: string): boolean {
  const plain = path.split("?")[0]!;
  return OPEN_PATHS.some((open) => plain === open || plain === BASE + open);
}

test("spellings that lead to a route all meet the gate, and the token opens them", async () => {
  for (const path of [
    "/v2/models/team?x=1",
    "/v2/models/te%61m",
    "/v2/models/team/versions/1?",
    "/v2/models/%74eam",
  ]) {
    assert.equal((await ask({ verb: "GET", path })).status, 401, path);
    assert.equal((await ask({ verb: "GET", path, authorization: `Bearer ${INFER}` })).status, 200, path);
  }
});

test("a path that does not begin with a slash is no HTTP", async () => {
  for (const path of ["v2", "v2/models/team", "*", "?", "metrics"]) {
    assert.equal((await ask({ verb: "POST", path })).status, path === "*" ? 404 : 400, path);
  }
});

test("names that are no names are told so, and only to those with the token", async () => {
  const authorization = `Bearer ${MANAGE}`;
  for (const name of [
    "..%2f..%2fetc",
    "%2e%2e",
    ".hidden",
    "a%20b",
    "a%00",
    "a%0d%0ab",
    "%e4%b8%ad",
    "a:b",
    "x".repeat(400),
  ]) {
    const path = `/v2/models/${name}/infer`;
    assert.equal((await ask({ verb: "POST", path })).status, 401, name);
    const reply = await ask({ verb: "POST", path, authorization });
    assert.equal(reply.status, 404, name);
    assert.match(
      reply.text,
      /^\{"error":"LORASA_UNKNOWN_MODEL: model .*a name of letters, digits, dots, - and _/,
    );
    const adapter = await ask({ verb: "GET", path: `/v2/models/team/adapters/${name}`, authorization });
    assert.equal(adapter.status, 404, name);
    assert.match(adapter.text, /LORASA_UNKNOWN_ADAPTER: adapter .*a name of letters, digits, dots, - and _/);
  }
});

test("without a token for inference it is open, without one for management that is off", async (context) => {
  const { url } = await serveTiny(context, { mode: "factored" });
  for (const route of GUARDED) {
    const init = { method: route.verb, headers: { Authorization: `Bearer ${MANAGE}` } };
    const { status } = await fetch(url + pathOf(route), init);
    if (route.role === "manage") assert.equal(status, 403, route.path);
    else assert.ok(![401, 403].includes(status), `${route.path}: ${status}`);
  }
});

const allows = (tokens: GateTokens, role: Route["role"], authorization?: string): ErrorCode | "yes" => {
  try {
    createGate(tokens)(role, authorization);
    return "yes";
  } catch (error) {
    assert.ok(error instanceof LorasaError);
    assert.doesNotMatch(error.message, /secret|[0-9a-f]{64}/, "it tells the token");
    return error.code;
  }
};

test("a gate keeps what it is given as a hash, and takes a hash as it is", () => {
  const token = "a secret of the test";
  const hashed = `sha256:${sha256(token)}`;
  for (const manageToken of [token, hashed, hashed.toUpperCase().replace("SHA256", "sha256")]) {
    assert.equal(allows({ manageToken }, "manage", `Bearer ${token}`), "yes", manageToken);
    assert.equal(allows({ manageToken }, "manage", `Bearer ${hashed}`), "LORASA_UNAUTHORIZED");
    assert.equal(allows({ manageToken }, "manage"), "LORASA_UNAUTHORIZED");
    assert.equal(allows({ manageToken }, "infer"), "yes");
  }
  for (const broken of [
    "",
    "sha256:",
    "sha256:xyz",
    `sha256:${"0".repeat(63)}`,
    `SHA256:${"0".repeat(65)}`,
  ]) {
    assert.equal(allows({ manageToken: broken }, "open"), "LORASA_FLAG", broken);
    assert.equal(allows({ inferToken: broken }, "open"), "LORASA_FLAG", broken);
  }
});

test("the token of one role is not the other's", () => {
  const tokens = { inferToken: "for the one", manageToken: "for the other" };
  assert.equal(allows(tokens, "infer", "Bearer for the one"), "yes");
  assert.equal(allows(tokens, "infer", "Bearer for the other"), "yes");
  assert.equal(allows(tokens, "manage", "Bearer for the other"), "yes");
  assert.equal(allows(tokens, "manage", "Bearer for the one"), "LORASA_UNAUTHORIZED");
  assert.equal(allows(tokens, "open", "Bearer of nobody"), "yes");
  assert.equal(allows({ inferToken: "x" }, "manage", "Bearer x"), "LORASA_FORBIDDEN");
  assert.equal(allows({ inferToken: "x" }, "infer", "Bearer "), "LORASA_UNAUTHORIZED");
  assert.equal(allows({ inferToken: "x" }, "infer", "Bearer x\nBearer y"), "LORASA_UNAUTHORIZED");
});

function replaceAt(path: string, at: number, change: (text: string) => string): string {
  const index = at % path.length;
  return path.slice(0, index) + change(path[index]!) + path.slice(index + 1);
}

/** One of the slashes but the first, which HTTP wants. */
function nthSlash(path: string, at: number, instead: string): string {
  const slashes = [...path.matchAll(/\//g)].map(({ index }) => index).filter((index) => index > 0);
  if (slashes.length === 0) return path;
  const index = slashes[at % slashes.length]!;
  return path.slice(0, index) + instead + path.slice(index + 1);
}
