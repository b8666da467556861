import assert from "node:assert/strict";
import { test } from "node:test";
import {
  formatBytes,
  formatCount,
  formatDuration,
  formatFixed,
  formatMicroseconds,
} from "../../src/base/format.ts";
import {
  formatPlainProgress,
  formatProgress,
  Progress,
  type ProgressState,
} from "../../src/training/log/progress.ts";

const state: ProgressState = {
  phase: "shared",
  done: 4_500_000,
  total: 10_000_000,
  perSecond: 12_345,
  meanReturn: 2310.52,
};

test("counts, bytes, times and durations as a person reads them", () => {
  assert.deepEqual(
    [0, 7, 999.6, 1000, 12_345, -4.56e6, 0.01234].map((count) => formatCount(count)),
    ["0", "7", "1k", "1k", "12.3k", "−4.56M", "0.0123"],
  );
  assert.deepEqual(
    [512, 1536, 3 * 2 ** 20].map((bytes) => formatBytes(bytes)),
    ["512 B", "1.5 KiB", "3 MiB"],
  );
  const times = [0.85, 0.9999, 12.34, 4500, 6e6, 120e6];
  assert.deepEqual(
    times.map((time) => formatMicroseconds(time)),
    ["850 ns", "1 µs", "12.3 µs", "4.5 ms", "6 s", "2 min"],
  );
  assert.deepEqual([-1, 59.6, 3661].map(formatDuration), ["0:00:00", "0:01:00", "1:01:01"]);
  assert.deepEqual(
    [formatFixed(-1234567.891, 1), formatFixed(-0.01, 1), formatFixed(Number.NaN, 1)],
    ["−1,234,567.9", "0.0", "–"],
  );
});

test("a wide line says everything", () => {
  assert.equal(
    formatProgress(state, 120),
    "shared  ████████████▌░░░░░░░░░░░░░░░   45%   4.5M/10M steps  12.3k/s  return   2311  0:07:26 left",
  );
});

test("a plain line says the same without a bar", () => {
  assert.equal(
    formatPlainProgress({ ...state, perSecond: null, meanReturn: null }),
    "shared 45%: 4.5M/10M steps, –/s, return –, -:--:-- left",
  );
});

test("a line fits any width; the bar goes first, the time left stays longest", () => {
  for (let width = 0; width < 120; width++) assert.ok(formatProgress(state, width).length <= width);
  assert.doesNotMatch(formatProgress(state, 70), /[█░]{29}/);
  assert.equal(formatProgress(state, 28), "shared   45%  0:07:26 left");
  assert.equal(formatProgress(state, 12), "shared   45%");
});

test("the bar is empty at first and full at the end, also past it", () => {
  assert.match(formatProgress({ ...state, done: 0 }, 120), / ░{28} {4}0% /);
  assert.match(formatProgress({ ...state, done: 2e7 }, 120), / █{28} {2}100% /);
  assert.match(formatProgress({ ...state, done: 0, total: 0 }, 120), / █{28} {2}100% /);
});

/** A stream and a clock that a test moves by hand. */
function stage(isTTY: boolean, quiet = false) {
  let text = "";
  const clock = { ms: 0 };
  const stream = { isTTY, columns: 100, write: (part: string) => (text += part) };
  const progress = new Progress({ stream, now: () => clock.ms, quiet });
  const at = (ms: number, done: number, phase = "shared"): void => {
    clock.ms = ms;
    progress.update({ phase, done, total: 1000, meanReturn: 1 });
  };
  // Erasing reads as ⌫, so that no pattern below holds a control character.
  return { progress, at, text: () => text.replaceAll("\r\x1b[2K", "⌫") };
}

test("on a terminal the line is redrawn in place, ten times a second at most", () => {
  const { progress, at, text } = stage(true);
  for (let ms = 0; ms <= 1000; ms += 10) at(ms, ms / 2);
  progress.close();
  progress.close();
  const drawn = text().split("⌫").slice(1);
  assert.equal(drawn.length, 11);
  assert.match(drawn.at(-1)!, /50% .* 500\/s .* 0:00:01 left\n$/);
});

test("elsewhere a line comes every ten seconds, and the last state always", () => {
  const { progress, at, text } = stage(false);
  for (let second = 0; second <= 25; second++) at(second * 1000, second * 10);
  progress.note("saved");
  progress.close();
  const lines = text().split("\n");
  assert.deepEqual(
    lines.map((line) => /^shared \d+%|^saved/.exec(line)?.[0] ?? line),
    ["shared 0%", "shared 10%", "shared 20%", "saved", "shared 25%", ""],
  );
  assert.ok(!text().includes("⌫"));
});

test("the speed is that of the last ten seconds", () => {
  const { progress, at, text } = stage(false);
  for (let second = 0; second <= 40; second++)
    at(second * 1000, second <= 20 ? second * 10 : 200 + (second - 20));
  progress.close();
  assert.match(text().trimEnd().split("\n").at(-1)!, / 1\/s/);
});

test("a note stands above the line; a new phase leaves the old line and starts its speed afresh", () => {
  const { progress, at, text } = stage(true);
  at(0, 0);
  at(1000, 400);
  progress.note("saved");
  at(1010, 400, "adapters");
  progress.close();
  const [before, after] = text().split("saved\n");
  assert.ok(before!.endsWith("⌫"));
  assert.match(after!, /^⌫shared .*400\/s.*\n⌫adapters .*–\/s.*\n$/);
});

test("quiet writes nothing", () => {
  const { progress, at, text } = stage(true, true);
  at(0, 0);
  progress.note("saved");
  progress.close();
  assert.equal(text(), "");
});
