/** Routes with names, verbs and spellings that are wrong on purpose. Not how they are sent. */
import fc from "fast-check";
import { ROUTES } from "../../server/http/routes.ts";
import { type HostileRequest, oddHeaders } from "./hostile-headers.ts";
import { changeTree, jsonChange, printTree, toTree } from "./hostile-json.ts";

/** Some are names that the server has. */
export const HOSTILE_NAMES: readonly string[] = [
  "team",
  "team",
  "team.agent_0",
  "team.agent_0.blue",
  "flat",
  "agent_0",
  "agent_1",
  "agent_0.blue",
  "agent_0..",
  "agent_9",
  "stats",
  "index",
  "..",
  "../team",
  "..%2fteam",
  "%2e%2e%2f%2e%2e%2fetc%2fpasswd",
  "%252e%252e",
  ".",
  "",
  "%00",
  "team%00.json",
  "team%0d%0aX: y",
  "te%61m",
  "%c0%ae%c0%ae",
  "%ff",
  "%",
  "C:%5cteam",
  "con",
  "__proto__",
  "constructor",
  "toString",
  "\u00e9",
  "a b",
  "a".repeat(129),
  "a".repeat(400),
  "a".repeat(9000),
  "$(id)",
  "{{7*7}}",
  "';--",
];
const VERSIONS = [
  "1",
  "0",
  "2",
  "-1",
  "01",
  "1.0",
  "x",
  "999999999999999999",
  "9999999999999999999",
  "%31",
  "",
];
const VERBS = [
  "GET",
  "POST",
  "HEAD",
  "PUT",
  "DELETE",
  "OPTIONS",
  "PATCH",
  "TRACE",
  "PROPFIND",
  "M-SEARCH",
  "get",
  "BREW",
];
const BODIES: readonly object[] = [
  {},
  { ready: true },
  { parameters: { unload_dependents: false } },
  { parameters: { drain: true } },
  { parameters: { path: "agent_0", load_inplace: true } },
  { parameters: { path: "../agent_0", load_inplace: true, pin: true } },
  { lora_name: "team.agent_0", lora_path: "agent_0", load_inplace: true },
  { lora_name: "team.agent_0.blue", lora_path: "../../x" },
];

/** Any route with any names, by any verb, perhaps with the token that opens it. */
export const routeRequest: fc.Arbitrary<HostileRequest> = fc
  .record({
    route: fc.constantFrom(...ROUTES),
    model: fc.constantFrom(...HOSTILE_NAMES),
    adapter: fc.constantFrom(...HOSTILE_NAMES),
    version: fc.constantFrom(...VERSIONS),
    verb: fc.oneof(
      { weight: 4, arbitrary: fc.constant(undefined) },
      { weight: 1, arbitrary: fc.constantFrom(...VERBS) },
    ),
    spelling: fc.oneof(
      { weight: 5, arbitrary: fc.constant([] as const) },
      {
        weight: 1,
        arbitrary: fc.tuple(
          fc.nat(80),
          fc.constantFrom(
            "/",
            "//",
            "%2f",
            "\\",
            "..",
            "%",
            "?",
            "#",
            ";",
            "\u0000",
            "\u00ff",
            " ",
            "%2e",
            "*",
            "http://x/",
          ),
        ),
      },
    ),
    body: fc.constantFrom(...BODIES),
    changes: fc.array(jsonChange, { maxLength: 2 }),
    token: fc.boolean(),
    headers: oddHeaders,
  })
  .map(({ route, model, adapter, version, verb, spelling, body, changes, token, headers }) => {
    const plain = route.path
      .replace(":model", model)
      .replace(":adapter", adapter)
      .replace(":version", version);
    const [at, text] = spelling.length === 0 ? [0, ""] : spelling;
    const cut = at % (plain.length + 1);
    return {
      verb: verb ?? route.verb,
      path: plain.slice(0, cut) + text + plain.slice(cut),
      headers,
      body:
        route.verb === "GET" ? Buffer.alloc(0) : Buffer.from(printTree(changeTree(toTree(body), changes))),
      // A path or verb of such characters is no HTTP, and a long one no request line.
      lies: verb !== undefined || /[^\x21-\x7e]|\\|^[^/]/.test(plain + text) || plain.length > 4000,
      token,
    };
  });
