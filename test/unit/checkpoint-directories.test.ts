import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { recoverDirectory, replaceDirectory } from "../../src/base/directories.ts";
import { LorasaError } from "../../src/base/errors.ts";
import { assertFails } from "../helpers/fails.ts";
import { temporaryFolder } from "../helpers/temporary-folder.ts";

const put =
  (text: string) =>
  (folder: string): void => {
    mkdirSync(join(folder, "inner"));
    writeFileSync(join(folder, "inner", "value"), text);
  };
const contentsOf = (path: string): string => readFileSync(join(path, "inner", "value"), "utf8");

test("a directory is created with its parents, then replaced whole, and nothing is left beside it", (t) => {
  const root = temporaryFolder(t);
  const path = join(root, "deep", "run");
  replaceDirectory(path, (folder) => {
    put("old")(folder);
    writeFileSync(join(folder, "only-old"), "");
  });
  replaceDirectory(path, put("new"));
  assert.equal(contentsOf(path), "new");
  assert.deepEqual(readdirSync(path), ["inner"]);
  assert.deepEqual(readdirSync(join(root, "deep")), ["run"]);
});

/** What can go wrong while the new directory is written, each with the code that is thrown. */
const FAILURES: [what: string, fill: (folder: string) => void, code: LorasaError["code"], message: RegExp][] =
  [
    [
      "a full disk",
      (folder) => {
        put("half")(folder);
        // The kernel's own ENOSPC: every write to this device fails with it.
        symlinkSync("/dev/full", join(folder, "weights"));
        writeFileSync(join(folder, "weights"), "x");
      },
      "LORASA_DISK",
      /no space left on the device; free some space/,
    ],
    [
      "a vanished folder",
      (folder) => renameSync(folder, `${folder}.away`),
      "LORASA_DISK",
      /no such file or folder/,
    ],
    [
      "an error of lorasa",
      () => {
        throw new LorasaError("LORASA_SHAPE", { asked: "tensor" });
      },
      "LORASA_SHAPE",
      /^tensor$/,
    ],
  ];

for (const [what, fill, code, message] of FAILURES) {
  const skip = what === "a full disk" && !existsSync("/dev/full") ? "needs /dev/full" : false;
  test(`the old directory stays and the temporary goes after ${what}`, { skip }, (t) => {
    const root = temporaryFolder(t);
    const path = join(root, "run");
    replaceDirectory(path, put("old"));
    assertFails(() => replaceDirectory(path, fill), code, message);
    assert.equal(contentsOf(path), "old");
    assert.deepEqual(
      readdirSync(root).filter((name) => !name.endsWith(".away")),
      ["run"],
    );
  });
}

test("an error that is no system error passes as it is", (t) => {
  const path = join(temporaryFolder(t), "run");
  const bug = new TypeError("bug");
  assert.throws(
    () =>
      replaceDirectory(path, () => {
        throw bug;
      }),
    bug,
  );
});

const failing = (at: number): ((from: string, to: string) => void) => {
  let calls = 0;
  return (from, to) => {
    calls += 1;
    if (calls === at) throw Object.assign(new Error("injected"), { code: "ENOSPC", syscall: "rename" });
    renameSync(from, to);
  };
};

test("the old directory is put back when either rename fails", (t) => {
  for (const at of [1, 2]) {
    const root = temporaryFolder(t);
    const path = join(root, "run");
    replaceDirectory(path, put("old"));
    const replace = (): void => replaceDirectory(path, put("new"), { rename: failing(at) });
    assertFails(replace, "LORASA_DISK", /no space left/, `rename ${at}`);
    assert.equal(contentsOf(path), "old");
    assert.deepEqual(readdirSync(root), ["run"]);
  }
});

test("a reader that recovers between the two renames does not stop the writer", (t) => {
  const root = temporaryFolder(t);
  const path = join(root, "run");
  replaceDirectory(path, put("old"));
  let calls = 0;
  const rename = (from: string, to: string): void => {
    calls += 1;
    if (calls === 2) recoverDirectory(path);
    renameSync(from, to);
  };
  replaceDirectory(path, put("new"), { rename });
  assert.equal(contentsOf(path), "new");
  assert.deepEqual(readdirSync(root), ["run"]);
});

test("a writer killed between the renames loses nothing: the next reader finds the old directory", (t) => {
  const root = temporaryFolder(t);
  const path = join(root, "run");
  replaceDirectory(path, put("old"));
  const script = `
    import { renameSync, writeFileSync } from "node:fs";
    import { replaceDirectory } from "./src/base/directories.ts";
    let calls = 0;
    const rename = (from, to) => {
      calls += 1;
      if (calls === 2) process.kill(process.pid, "SIGKILL");
      renameSync(from, to);
    };
    replaceDirectory(process.env.RUN, (folder) => writeFileSync(folder + "/value", "new"), { rename });`;
  const { signal } = spawnSync(
    process.execPath,
    ["--import", "tsx", "--input-type=module", "--eval", script],
    { env: { ...process.env, RUN: path } },
  );
  assert.equal(signal, "SIGKILL");
  assert.ok(!existsSync(path));
  assert.equal(readdirSync(root).length, 2);
  recoverDirectory(path);
  assert.equal(contentsOf(path), "old");
  assert.deepEqual(readdirSync(root), ["run"]);
});

test("the temporary of a live writer and folders of other names stay", (t) => {
  const root = temporaryFolder(t);
  const live = [`run.${process.ppid}-00000000.tmp`, `run.${process.pid}-00000000.tmp`, "run.tmp", "runs"];
  for (const name of live) mkdirSync(join(root, name));
  replaceDirectory(join(root, "run"), put("new"));
  assert.deepEqual(readdirSync(root), ["run", ...live].sort());
});

test("a folder or file that is not ours is not replaced", (t) => {
  const root = temporaryFolder(t);
  const marker = "inner";
  mkdirSync(join(root, "empty"));
  replaceDirectory(join(root, "empty"), put("new"), { marker });
  replaceDirectory(join(root, "empty"), put("newer"), { marker });
  assert.equal(contentsOf(join(root, "empty")), "newer");
  mkdirSync(join(root, "home"));
  writeFileSync(join(root, "home", "letter"), "dear");
  const replaceHome = (): void => replaceDirectory(join(root, "home"), put("new"), { marker });
  assertFails(replaceHome, "LORASA_EXISTS", /one with inner, received a folder of something else/);
  assert.deepEqual(readdirSync(join(root, "home")), ["letter"]);
  const replaceFile = (): void => replaceDirectory(join(root, "home", "letter"), put("new"));
  assertFails(replaceFile, "LORASA_EXISTS", /a folder, received a file/);
  assert.deepEqual(readdirSync(root).sort(), ["empty", "home"]);
});

test("a link to a directory stays a link", (t) => {
  const root = temporaryFolder(t);
  replaceDirectory(join(root, "first"), put("old"));
  symlinkSync(join(root, "first"), join(root, "latest"));
  replaceDirectory(join(root, "latest"), put("new"));
  assert.equal(contentsOf(join(root, "first")), "new");
  assert.deepEqual(readdirSync(root).sort(), ["first", "latest"]);
});

test("a parent that cannot be made is a disk error", (t) => {
  const root = temporaryFolder(t);
  writeFileSync(join(root, "file"), "");
  const replace = (): void => replaceDirectory(join(root, "file", "run"), put("new"));
  assertFails(replace, "LORASA_DISK", /^writing .*run: received /);
});
