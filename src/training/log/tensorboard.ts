/** Event files that TensorBoard opens: named numbers over steps, no graphs and no images. */
import { closeSync, mkdirSync, openSync, writeSync } from "node:fs";
import { join } from "node:path";
import protobuf from "protobufjs/minimal.js";
import { LorasaError } from "../../base/errors.ts";
import { diskError } from "../../base/files.ts";
import { tfRecord } from "./tfrecord.ts";

/**
 * Fields of `tensorflow.Event`, `Summary`, `Summary.Value` and `SessionLog` as protobuf keys: field number · 8 +
 * wire type. @source tensorflow/core/util/event.proto, tensorflow/core/framework/summary.proto
 */
const KEY = {
  wallTime: 9,
  step: 16,
  fileVersion: 26,
  summary: 42,
  sessionLog: 58,
  summaryValue: 10,
  tag: 10,
  simpleValue: 21,
  sessionStatus: 8,
} as const;
const SESSION_START = 1;

/** What an {@link EventFile} may be told when it is opened. */
export interface EventFileOptions {
  /** Steps beyond this one, in earlier files of the folder, are void. */
  readonly resumeAt?: number;
  /** Seconds since 1970; the clock unless given. */
  readonly wallTime?: number;
}

/** One open event file. A reader may follow it while it grows: each record is one write. */
export class EventFile {
  readonly path: string;
  #file: number | null;

  /** Makes the folder and a new file in it. @throws LORASA_DISK when it cannot be written. */
  constructor(folder: string, options: EventFileOptions = {}) {
    const wallTime = options.wallTime ?? Date.now() / 1000;
    const opened = openNew(folder, wallTime);
    this.path = opened.path;
    this.#file = opened.file;
    this.#write(event(wallTime, 0, (writer) => writer.uint32(KEY.fileVersion).string("brain.Event:2")));
    if (options.resumeAt !== undefined) {
      this.#write(
        event(wallTime, options.resumeAt + 1, (writer) =>
          writer.uint32(KEY.sessionLog).fork().uint32(KEY.sessionStatus).int32(SESSION_START).ldelim(),
        ),
      );
    }
  }

  /**
   * Named numbers of one step, such as `{"loss/policy": 0.1}`; float32 on file. Slashes make groups.
   * @throws LORASA_DISK when writing fails, LORASA_DISPOSED after `close`.
   */
  scalars(step: number, values: Readonly<Record<string, number>>, wallTime = Date.now() / 1000): void {
    this.#write(
      event(wallTime, step, (writer) => {
        writer.uint32(KEY.summary).fork();
        for (const [tag, value] of Object.entries(values)) {
          writer.uint32(KEY.summaryValue).fork();
          writer.uint32(KEY.tag).string(tag).uint32(KEY.simpleValue).float(value).ldelim();
        }
        writer.ldelim();
      }),
    );
  }

  close(): void {
    if (this.#file !== null) closeSync(this.#file);
    this.#file = null;
  }

  #write(data: Uint8Array): void {
    if (this.#file === null) {
      throw new LorasaError("LORASA_DISPOSED", { asked: `writing ${this.path}`, received: "a closed file" });
    }
    try {
      writeSync(this.#file, tfRecord(data));
    } catch (cause) {
      throw diskError(`writing ${this.path}`, cause);
    }
  }
}

/** An encoded `Event`: time and step, then whatever `rest` writes. */
function event(wallTime: number, step: number, rest: (writer: protobuf.Writer) => void): Uint8Array {
  const writer = protobuf.Writer.create();
  writer.uint32(KEY.wallTime).double(wallTime);
  // As proto3 does: a zero is left out.
  if (step !== 0) writer.uint32(KEY.step).int64(step);
  rest(writer);
  return writer.finish();
}

/** `events.out.tfevents.<seconds>.lorasa.<n>`: TensorBoard reads the files of a folder in the order of their names. */
function openNew(folder: string, wallTime: number): { path: string; file: number } {
  const seconds = String(Math.floor(wallTime)).padStart(10, "0");
  try {
    mkdirSync(folder, { recursive: true });
    for (let n = 0; ; n++) {
      const path = join(folder, `events.out.tfevents.${seconds}.lorasa.${n}`);
      try {
        return { path, file: openSync(path, "wx") };
      } catch (cause) {
        // Another file of the same second: take the next number.
        if ((cause as NodeJS.ErrnoException).code !== "EEXIST") throw cause;
      }
    }
  } catch (cause) {
    throw diskError(`an event file in ${folder}`, cause);
  }
}
