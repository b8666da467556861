import assert from "node:assert/strict";
import { appendFileSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { LorasaError } from "../../src/base/errors.ts";
import { MetricsFile, type MetricsRow, readMetrics } from "../../src/training/log/metrics-file.ts";
import { EventFile } from "../../src/training/log/tensorboard.ts";
import { crc32c } from "../../src/training/log/tfrecord.ts";

const folder = mkdtempSync(join(tmpdir(), "lorasa-log-"));
after(() => rmSync(folder, { recursive: true }));

const row = (envSteps: number): MetricsRow => ({
  envSteps,
  seconds: envSteps / 8,
  phase: envSteps < 300 ? "shared" : "adapters",
  metrics: { "return/mean": envSteps * 2, entropy: 0.5 },
});
const codeIs = (code: string) => (error: unknown) => error instanceof LorasaError && error.code === code;

function metricsOf(name: string, steps: readonly number[], resumeAt?: number): string {
  const path = join(folder, name);
  const file = new MetricsFile(path, resumeAt === undefined ? {} : { resumeAt });
  for (const step of steps) file.append(row(step));
  file.flush();
  file.close();
  return path;
}

test("metrics are one flat object a line and read back as written", () => {
  const path = metricsOf("metrics.jsonl", [100, 300]);
  const first = readFileSync(path, "utf8").split("\n")[0];
  assert.equal(first, '{"envSteps":100,"seconds":12.5,"phase":"shared","return/mean":200,"entropy":0.5}');
  assert.deepEqual(readMetrics(path), [row(100), row(300)]);
});

test("a file that was resumed from equals that of an uninterrupted run", () => {
  const whole = metricsOf("whole.jsonl", [100, 200, 300, 400]);
  const path = metricsOf("resumed.jsonl", [100, 200, 300]);
  appendFileSync(path, '{"envSteps":400,"sec');
  metricsOf("resumed.jsonl", [300, 400], 200);
  assert.equal(readFileSync(path, "utf8"), readFileSync(whole, "utf8"));
});

test("without resuming an old file is emptied; resuming without one starts it", () => {
  metricsOf("again.jsonl", [100, 200]);
  assert.equal(readMetrics(metricsOf("again.jsonl", [100])).length, 1);
  assert.equal(readMetrics(metricsOf("fresh.jsonl", [100], 50)).length, 1);
});

test("figures that are not finite are null on file and NaN when read", () => {
  const path = join(folder, "nan.jsonl");
  const file = new MetricsFile(path);
  file.append({ ...row(1), metrics: { bad: Number.POSITIVE_INFINITY } });
  file.close();
  assert.match(readFileSync(path, "utf8"), /"bad":null/);
  assert.deepEqual(readMetrics(path)[0]?.metrics, { bad: Number.NaN });
});

test("a torn last line is left out; a broken line before it is an error that names it", () => {
  const path = metricsOf("torn.jsonl", [100, 200]);
  appendFileSync(path, '{"envSteps":3');
  assert.equal(readMetrics(path).length, 2);
  for (const broken of ['{"envSteps":3', "[]", "null", '{"envSteps":1,"seconds":1,"phase":"x","a":"b"}']) {
    writeFileSync(path, `${broken}\n{"envSteps":1,"seconds":1,"phase":"x"}\n`);
    assert.throws(() => readMetrics(path), codeIs("LORASA_FILE"));
    assert.throws(() => readMetrics(path), /line 1 of/);
    assert.throws(() => new MetricsFile(path, { resumeAt: 5 }), codeIs("LORASA_FILE"));
  }
  assert.throws(() => readMetrics(join(folder, "none.jsonl")), codeIs("LORASA_FILE"));
});

test("files closed twice are closed, and used after that are an error", () => {
  const metrics = new MetricsFile(join(folder, "late.jsonl"));
  const events = new EventFile(join(folder, "late"));
  for (const file of [metrics, events]) {
    file.close();
    file.close();
  }
  assert.throws(() => metrics.append(row(1)), codeIs("LORASA_DISPOSED"));
  assert.throws(() => events.scalars(1, {}), codeIs("LORASA_DISPOSED"));
  assert.throws(() => new MetricsFile(join(folder, "no", "such")), codeIs("LORASA_DISK"));
  assert.throws(() => new EventFile(join(folder, "late.jsonl")), codeIs("LORASA_DISK"));
});

test("CRC-32C of the published vectors", () => {
  assert.equal(crc32c(Buffer.from("123456789")), 0xe3069283);
  assert.equal(crc32c(new Uint8Array(32)), 0x8a9136aa);
  assert.equal(crc32c(new Uint8Array(32).fill(0xff)), 0x62a8ab43);
});

test("an event file is byte for byte what TensorBoard's own writer makes", () => {
  const wallTime = 1_700_000_000.25;
  const file = new EventFile(join(folder, "golden"), { wallTime, resumeAt: 2000 });
  file.scalars(3000, { "return/mean": 12.5, "loss/value": 0.1 }, wallTime + 3);
  file.scalars(5e9, { "return/mean": -3, "loss/policy": 0 }, wallTime + 5e6);
  file.close();
  assert.deepEqual(
    readFileSync(file.path),
    readFileSync(new URL("../fixtures/tensorboard/events", import.meta.url)),
  );
});

test("an event file decodes to its numbers", () => {
  const file = new EventFile(join(folder, "decoded"), { wallTime: 9 });
  file.scalars(300, { a: 1.5, "group/ü": -2 }, 10);
  file.close();
  const [version, scalars] = records(readFileSync(file.path)).map((record) => decode(record));
  assert.deepEqual(version, { 1: [9], 3: ["brain.Event:2"] });
  assert.deepEqual(scalars, {
    1: [10],
    2: [300],
    5: [
      {
        1: [
          { 1: ["a"], 2: [1.5] },
          { 1: ["group/ü"], 2: [-2] },
        ],
      },
    ],
  });
});

test("files opened in the same second are separate and in order", () => {
  const where = join(folder, "twice");
  for (let i = 0; i < 2; i++) new EventFile(where, { wallTime: 5 }).close();
  const names = ["events.out.tfevents.0000000005.lorasa.0", "events.out.tfevents.0000000005.lorasa.1"];
  assert.deepEqual(readdirSync(where), names);
});

/** Splits a TFRecord file by its lengths alone. */
function records(bytes: Buffer): Buffer[] {
  const found: Buffer[] = [];
  for (let at = 0; at < bytes.length; ) {
    const length = Number(bytes.readBigUInt64LE(at));
    found.push(bytes.subarray(at + 12, at + 12 + length));
    at += length + 16;
  }
  return found;
}

type Message = { [field: number]: (number | string | Message)[] };

/** Protobuf by wire type; field 5 and, within it, field 1 are messages, other lengths are text. */
function decode(bytes: Buffer, depth = 0): Message {
  const message: Message = {};
  let at = 0;
  const take = (count: number): Buffer => {
    at += count;
    return bytes.subarray(at - count, at);
  };
  const varint = (): number => {
    let value = 0;
    for (let scale = 1; ; scale *= 128) {
      const byte = take(1)[0]!;
      value += (byte & 127) * scale;
      if (byte < 128) return value;
    }
  };
  const readers: Record<number, (field: number) => number | string | Message> = {
    0: varint,
    1: () => take(8).readDoubleLE(),
    2: (field) => {
      const part = take(varint());
      const nested = (depth === 0 && field === 5) || (depth === 1 && field === 1);
      return nested ? decode(part, depth + 1) : part.toString();
    },
    5: () => take(4).readFloatLE(),
  };
  while (at < bytes.length) {
    const key = varint();
    const field = key >>> 3;
    message[field] = [...(message[field] ?? []), readers[key & 7]!(field)];
  }
  return message;
}
