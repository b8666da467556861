/** Which route a path is, and the names in it. Paths are read here alone: what a name may hold is decided once. */
import { LorasaError } from "../../src/base/errors.ts";
import { PATH_MEMORY_CHARACTERS, PATH_MEMORY_LIMIT } from "../limits.ts";
import type { Route, RouteMatch } from "./routes.ts";

/** The routes of one path by verb, and its names; the error of a name that cannot be one. */
export interface Found {
  readonly verbs: ReadonlyMap<string, Route>;
  readonly match: RouteMatch | LorasaError;
}

/** What a URL without its base path leads to; its query is ignored. Undefined for no route. */
export type FindRoute = (url: string) => Found | undefined;

/**
 * Letters, digits, `_`, `-` and dots, as models, agents and adapters have them; the lengths of all three together, as
 * in `team.agent_0.blue`.
 */
const NAME = /^[A-Za-z0-9_-][A-Za-z0-9._-]{0,385}$/;

const PARTS = { ":version": String.raw`(\d{1,18})` } as const satisfies Readonly<Record<string, string>>;

/** @param basePath comes before every path, such as `/lorasa`; empty for none. */
export function createMatcher(routes: readonly Route[], basePath: string): FindRoute {
  const paths = [...groupByPath(routes)].map(([path, verbs]) => ({ ...compile(basePath + path), verbs }));
  // A path without names wins over one with them: /v2/models/stats is no model.
  paths.sort((a, b) => a.names.length - b.names.length);
  const search = (path: string): Found | undefined => {
    for (const { pattern, names, verbs } of paths) {
      const parts = pattern.exec(path);
      if (parts !== null) return { verbs, match: readNames(names, parts) };
    }
    return undefined;
  };
  return remembering(search);
}

/**
 * Clients ask for few paths over and over. Only whole URLs that lead to a route are kept, and all are forgotten when
 * there are too many: junk can neither stay nor grow.
 */
function remembering(search: FindRoute): FindRoute {
  const known = new Map<string, Found>();
  return (url) => {
    const remembered = known.get(url);
    if (remembered) return remembered;
    const query = url.indexOf("?");
    const found = search(query < 0 ? url : url.slice(0, query));
    if (found && query < 0 && url.length <= PATH_MEMORY_CHARACTERS && !(found.match instanceof LorasaError)) {
      if (known.size >= PATH_MEMORY_LIMIT) known.clear();
      known.set(url, found);
    }
    return found;
  };
}

function groupByPath(routes: readonly Route[]): Map<string, Map<string, Route>> {
  const paths = new Map<string, Map<string, Route>>();
  for (const route of routes) {
    const verbs = paths.get(route.path) ?? new Map<string, Route>();
    paths.set(route.path, verbs.set(route.verb, route));
    // What answers GET answers HEAD: the same headers without the body.
    if (route.verb === "GET") verbs.set("HEAD", route);
  }
  return paths;
}

function compile(path: string): { readonly pattern: RegExp; readonly names: readonly string[] } {
  const names: string[] = [];
  const parts = path.split("/").map((part) => {
    if (!part.startsWith(":")) return part.replaceAll(".", String.raw`\.`);
    names.push(part);
    return part in PARTS ? PARTS[part as keyof typeof PARTS] : "([^/]+)";
  });
  return { pattern: new RegExp(`^${parts.join("/")}$`), names };
}

function readNames(names: readonly string[], parts: readonly string[]): RouteMatch | LorasaError {
  const texts = new Map(names.map((name, index) => [name, decode(parts[index + 1] ?? "")]));
  const model = texts.get(":model");
  const adapter = texts.get(":adapter");
  for (const [kind, text] of [
    ["model", model],
    ["adapter", adapter],
  ] as const) {
    if (texts.has(`:${kind}`)) {
      const fault = checkName(kind, text);
      if (fault) return fault;
    }
  }
  return { model: model ?? "", version: texts.get(":version"), adapter: adapter ?? "" };
}

/** Once; undefined for what is not percent-encoded UTF-8. */
function decode(text: string): string | undefined {
  if (!text.includes("%")) return text;
  try {
    return decodeURIComponent(text);
  } catch {
    return undefined;
  }
}

function checkName(kind: "model" | "adapter", text: string | undefined): LorasaError | undefined {
  if (text === undefined) {
    return new LorasaError("LORASA_REQUEST", {
      asked: `${kind} name in the path`,
      expected: "percent-encoded UTF-8",
      received: "something else",
    });
  }
  if (NAME.test(text)) return undefined;
  return new LorasaError(kind === "model" ? "LORASA_UNKNOWN_MODEL" : "LORASA_UNKNOWN_ADAPTER", {
    asked: `${kind} ${JSON.stringify(text.slice(0, 80))}`,
    expected: "a name of letters, digits, dots, - and _ that starts with no dot",
    received: "other characters",
  });
}
