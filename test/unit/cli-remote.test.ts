/** `lorasa train --env remote` as a person starts it: its flags, what it prints, and that what it advises works. */
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, type TestContext, test } from "node:test";
import { runCommand } from "../helpers/command-line.ts";
import { Puppet, seen, stepped } from "../helpers/remote-listen.ts";

const folder = mkdtempSync(join(tmpdir(), "lorasa-"));
after(() => rmSync(folder, { recursive: true, force: true }));

/** A command under way, and what it has written. */
interface Command {
  readonly process: ChildProcess;
  readonly written: { out: string; notes: string };
  readonly ended: Promise<number | null>;
  /** The address in a note, once it is there. */
  readonly address: Promise<string>;
}

function lorasa(context: TestContext, ...args: string[]): Command {
  const child = spawn(process.execPath, ["--import", "tsx", "src/cli/main.ts", ...args]);
  context.after(() => child.kill("SIGKILL"));
  const written = { out: "", notes: "" };
  child.stdout.on("data", (piece) => {
    written.out += piece;
  });
  const address = new Promise<string>((resolve) => {
    child.stderr.on("data", (piece) => {
      written.notes += piece;
      const found = /waiting for simulators on (\S+)/.exec(written.notes)?.[1];
      if (found !== undefined) resolve(found);
    });
  });
  const ended = once(child, "close").then(([code]) => code as number | null);
  return { process: child, written, ended, address };
}

/** Steps a simulator of {@link PAIR} whose episodes do not end, until training does; `onStep` is called with how many. */
async function play(puppet: Puppet, onStep: (steps: number) => void = () => {}): Promise<void> {
  let answer: object = { sequence: 0 };
  for (let steps = 0; steps < 100_000; ) {
    const { json, status } = await puppet.next(answer);
    assert.equal(status, 200, json.error);
    if (json.command === "close") break;
    if (json.command === "act") onStep(++steps);
    const { sequence } = json;
    answer = { wait: { sequence }, act: stepped(sequence, 1), reset: seen(sequence, 1) }[json.command];
  }
  puppet.client.close();
}

const out = join(folder, "run");
const LISTEN = ["--listen", "127.0.0.1:0"];
const SETS = ["envs=2", "rolloutLength=10", "epochs=1", "criticEpochs=1", "hidden=[8]"].flatMap((field) => [
  "--set",
  field,
]);

test("a run gives up a simulator after the timeout asked for, and what it prints as the next step works", {
  timeout: 60_000,
}, async (context) => {
  const asked = ["--steps", "40", "--switch-at", "1", "--simulator-timeout", "1.5"];
  const run = lorasa(context, "train", "--env", "remote", ...LISTEN, "--out", out, ...asked, ...SETS);
  const url = await run.address;
  const silent = await Puppet.register(url);
  await Promise.all([play(await Puppet.register(url)), play(await Puppet.register(url))]);
  silent.client.close();
  assert.equal(await run.ended, 0, run.written.notes);
  assert.match(run.written.notes, /was given up: no request for 1\.5 s/);
  assert.match(run.written.out, /^finished\nreturn –, \S+ environment steps a second$/m);
  assert.doesNotMatch(run.written.out, /evaluate|NaN/);
  assert.match(run.written.out, /^ +lorasa serve models-repository$/m);
  const next = /^next +lorasa (export .+)$/m.exec(run.written.out)?.[1]?.split(" ") ?? [];
  assert.equal(next.pop(), "models-repository");
  const exported = runCommand([...next, join(folder, "repository")]);
  assert.equal(exported.status, 0, exported.stderr);
});

test("a run that is interrupted says how to go on, address and all", { timeout: 60_000 }, async (context) => {
  const run = lorasa(context, "train", "--resume", "--out", out, ...LISTEN, "--steps", "1000000");
  const url = await run.address;
  const stop = (steps: number): boolean => steps === 15 && run.process.kill("SIGINT");
  await Promise.all([play(await Puppet.register(url), stop), play(await Puppet.register(url))]);
  assert.equal(await run.ended, 130, run.written.notes);
  const goOn = /^go on +(.+)$/m.exec(run.written.out)?.[1];
  assert.equal(goOn, `lorasa train --resume --out ${out} --listen 127.0.0.1:0`);
});

test("flags of simulators are refused where none connect", () => {
  const given = [
    ["--listen", "127.0.0.1:0"],
    ["--token-file", "token.txt"],
    ["--simulator-timeout", "9"],
  ];
  for (const flags of given) {
    const { status, stderr } = runCommand(["train", "--out", join(folder, "none"), ...flags]);
    assert.equal(status, 2);
    assert.match(stderr, new RegExp(`${flags[0]}: expected --env remote, received mujoco/HalfCheetah-2x3`));
  }
  assert.ok(!existsSync(join(folder, "none")));
});
