/**
 * `npm test`: every `*.test.ts` under test/, except the suites that need more than Node (`interop`, `webgpu`)
 * or more than minutes (`long`). Arguments are file-name fragments: `npm test -- graph autodiff`.
 */
import { spawnSync } from "node:child_process";
import { readdirSync } from "node:fs";

const OUTSIDE = /^(interop|webgpu|long|bench)[/\\]/;
const wanted = process.argv.slice(2);
const files = readdirSync("test", { recursive: true })
  .filter((file) => file.endsWith(".test.ts") && !OUTSIDE.test(file))
  .filter((file) => wanted.length === 0 || wanted.some((part) => file.includes(part)))
  .map((file) => `test/${file}`)
  .sort();
if (files.length === 0) {
  process.stderr.write(`no test file matches ${wanted.join(" ")}\n`);
  process.exit(2);
}
const { status } = spawnSync(
  process.execPath,
  ["--import", "tsx", "--test", "--test-concurrency=2", ...files],
  {
    stdio: "inherit",
  },
);
process.exit(status ?? 1);
