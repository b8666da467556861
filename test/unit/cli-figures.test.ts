/** What a task tells of its episodes, as commands print it. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { figuresText } from "../../src/cli/play/figures.ts";

test("episodes won are a share in percent, other figures numbers in words", () => {
  assert.equal(figuresText({ won: 0.9375, deadAllies: 2.25 }), "won 94 %, dead allies 2.3");
  assert.equal(figuresText({}), "");
});
