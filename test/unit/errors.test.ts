/** The table of error codes against the README's list and the sources, both ways; and what a message is made of. */
import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";
import { ERROR_CODES, LorasaError, suggestion } from "../../src/base/errors.ts";

const codes = Object.keys(ERROR_CODES).sort();
/** Files of the project that may name codes: sources, tests, clients and pages. */
const sources = ["src", "models", "exporters", "server", "test", "examples", "docs"]
  .filter((root) => existsSync(root))
  .flatMap((root) => readdirSync(root, { recursive: true }).map((file) => `${root}/${file}`))
  .filter((file) => /\.(ts|mjs|md|html|py|cs)$/.test(file) && !file.endsWith("unit/errors.test.ts"));

/** Environment variables share the prefix. */
const variables = new Set(
  sources.flatMap((file) =>
    [...readFileSync(file, "utf8").matchAll(/\benv(?:\.|\[")(LORASA_\w+)/g)].map((match) => match[1]!),
  ),
);

function codesIn(text: string): string[] {
  const names = new Set(text.match(/\bLORASA_[A-Z_]*[A-Z]\b/g));
  return [...names].filter((name) => !variables.has(name)).sort();
}

const readme = existsSync("README.md") ? readFileSync("README.md", "utf8") : undefined;

test("the README lists every code, and no other", {
  skip: readme === undefined && "there is no README.md",
}, () => {
  assert.deepEqual(codesIn(readme ?? ""), codes);
});

test("every code that a source names is in the table", () => {
  for (const file of sources) {
    const unknown = codesIn(readFileSync(file, "utf8")).filter((code) => !codes.includes(code));
    assert.deepEqual(unknown, [], file);
  }
});

test("every code of the table is thrown somewhere", () => {
  const thrown = sources
    .filter((file) => !/^(test|docs|examples)\//.test(file) && !file.endsWith("base/errors.ts"))
    .flatMap((file) => codesIn(readFileSync(file, "utf8")));
  assert.deepEqual(
    codes.filter((code) => !thrown.includes(code)),
    [],
  );
});

test("a user's mistake ends with 2 and a failure with 1; statuses are HTTP's", () => {
  for (const [code, { status, exit, about }] of Object.entries(ERROR_CODES)) {
    assert.ok(status >= 400 && status < 600, code);
    assert.ok(exit === 2 || status >= 500, `${code}: only a server's failure is not the user's`);
    assert.match(about, /^[A-Z].*\.$/, code);
  }
  const error = new LorasaError("LORASA_PORT", { asked: "port 80" });
  assert.deepEqual([error.status, error.exitCode, error.name], [500, 2, "LorasaError"]);
});

test("a message joins the parts that are given", () => {
  const cause = new Error("inner");
  const whole = new LorasaError("LORASA_SHAPE", {
    asked: "input obs",
    expected: "[2]",
    received: "[3]",
    mend: "send 2",
    cause,
  });
  assert.equal(whole.message, "input obs: expected [2], received [3]; send 2");
  assert.equal(whole.cause, cause);
  assert.equal(new LorasaError("LORASA_FILE", { asked: "a" }).message, "a");
  assert.equal(new LorasaError("LORASA_FILE", { asked: "a", received: "b" }).message, "a: received b");
  assert.equal(new LorasaError("LORASA_FILE", { asked: "a", mend: "c" }).message, "a; c");
});

test("a suggestion names what is near, or else what there is", () => {
  assert.equal(suggestion("obss", ["obs", "noise"]), "did you mean obs?");
  assert.equal(suggestion("OBS", ["obs"]), "did you mean obs?");
  assert.equal(suggestion("quite", ["obs", "noise"]), "known: obs, noise");
  const many = Array.from({ length: 21 }, (_, k) => `agent_number_${k}`);
  assert.match(suggestion("x", many), /^known: agent_number_0, .*agent_number_19, …$/);
});
