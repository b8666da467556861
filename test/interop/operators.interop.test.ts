/** What operators' own tools make of a running server: its metrics and its API's description. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { METRICS } from "../../server/operations/metric-table.ts";
import { temporaryFolder } from "../helpers/temporary-folder.ts";
import { serveTiny } from "../helpers/tiny-server.ts";
import { pythonWith } from "./python-environment.ts";

const TEXT = "text/plain;version=0.0.4";
const OPEN_METRICS = "application/openmetrics-text;version=1.0.0";

/** Prometheus' own checker; of the package that has the server. */
const PROMTOOL = process.env["PROMTOOL"] ?? "promtool";

/** Reads metrics with Prometheus' client for Python; prints the type and number of samples of each family. */
const PARSE = `
import json, sys
from prometheus_client.parser import text_string_to_metric_families as text
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
parse = openmetrics if sys.argv[1] == "openmetrics" else text
families = parse(open(sys.argv[2]).read())
print(json.dumps({f.name: [f.type, len(f.samples)] for f in families}))
`;

const VALIDATE = `
import json, sys
from openapi_spec_validator import OpenAPIV31SpecValidator, validate
document = json.load(open(sys.argv[1]))
validate(document, cls=OpenAPIV31SpecValidator)
print(len(document["paths"]))
`;

for (const [format, accept] of [
  ["text", TEXT],
  ["openmetrics", OPEN_METRICS],
] as const) {
  test(`Prometheus' client for Python reads every metric in the ${format} format`, async (context) => {
    const found = pythonWith([{ pip: "prometheus-client", modules: ["prometheus_client"] }]);
    if ("missing" in found) return context.skip(found.missing);
    const path = await save(context, "metrics", "/metrics", accept);
    const families = JSON.parse(run(found.python, ["-c", PARSE, format, path])) as Record<
      string,
      [string, number]
    >;
    for (const [name, { kind }] of Object.entries(METRICS)) {
      const counter = kind === "counter";
      const [type, samples] = families[counter ? name.replace(/_total$/, "") : name] ?? [];
      const unnamed = format === "openmetrics" && counter && !name.endsWith("_total");
      assert.equal(type, unnamed ? "unknown" : kind, name);
      // Where nothing counts connections there is no number of them.
      assert.ok((samples ?? 0) > 0, `${name} has no sample`);
    }
    assert.ok("process_resident_memory_bytes" in families);
  });
}

test("promtool finds nothing to correct but names that are others'", async (context) => {
  if (spawnSync(PROMTOOL, ["--version"]).error) return context.skip("promtool is not installed");
  const path = await save(context, "metrics", "/metrics", TEXT);
  const input = readFileSync(path, "utf8");
  const { stdout, stderr } = spawnSync(PROMTOOL, ["check", "metrics"], { input, encoding: "utf8" });
  const remarks = `${stdout}${stderr}`
    .split("\n")
    .filter((line) => line.startsWith("lorasa_") || /error/i.test(line));
  assert.deepEqual(remarks, []);
});

test("promtool reads every expression of the dashboard", (context) => {
  if (spawnSync(PROMTOOL, ["--version"]).error) return context.skip("promtool is not installed");
  const dashboard = readFileSync(join(import.meta.dirname, "../../docs/grafana/lorasa.json"), "utf8");
  const expressions = [...dashboard.matchAll(/"expr": ("(?:[^"\\]|\\.)*")/g)].map(([, text = ""]) => {
    return String(JSON.parse(text)).replaceAll("$__rate_interval", "5m");
  });
  assert.ok(expressions.length > 40);
  // Recording rules are the files of expressions that promtool reads; JSON is YAML.
  const rules = expressions.map((expr, at) => ({ record: `panel:${at}`, expr }));
  const path = join(temporaryFolder(context), "rules.yml");
  writeFileSync(path, JSON.stringify({ groups: [{ name: "dashboard", rules }] }));
  run(PROMTOOL, ["check", "rules", path]);
});

test("openapi-spec-validator accepts the API's description", async (context) => {
  const found = pythonWith([{ pip: "openapi-spec-validator", modules: ["openapi_spec_validator"] }]);
  if ("missing" in found) return context.skip(found.missing);
  const path = await save(context, "openapi.json", "/openapi.json", "application/json");
  assert.ok(Number(run(found.python, ["-c", VALIDATE, path])) > 20);
});

/** What a server that has answered and refused a little sends for a path, as a file. */
async function save(context: TestContext, name: string, path: string, accept: string): Promise<string> {
  const { url, client } = await serveTiny(context, { mode: "factored" });
  const obs = { dtype: "float32", dims: [1, 2, 3], data: Float32Array.of(1, 2, 3, 4, 5, 6) } as const;
  await client.infer("team", { obs });
  await client.infer("team.agent_1", { obs: { ...obs, dims: [2, 3] } });
  await assert.rejects(client.infer("team", {}));
  const reply = await fetch(url + path, { headers: { Accept: accept } });
  assert.equal(reply.status, 200);
  const file = join(temporaryFolder(context), name);
  writeFileSync(file, await reply.text());
  return file;
}

function run(command: string, args: readonly string[]): string {
  const { status, stdout, stderr } = spawnSync(command, args, { encoding: "utf8" });
  assert.equal(status, 0, stderr);
  return stdout;
}
