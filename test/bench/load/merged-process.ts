/** A process that holds merged policies, one session each, and says what they take. Arguments: graph files. */
import { readFileSync } from "node:fs";
import { floatTensor } from "../../../src/base/tensor.ts";
import { createRuntime } from "../../../src/runtime/onnxruntime.ts";
import type { Session } from "../../../src/runtime/session.ts";
import { answerParent } from "./processes.ts";
import { usage } from "./usage.ts";

export interface MergedResult {
  readonly createSeconds: number;
  /** Resident memory that was not there before the first session. */
  readonly bytes: number;
}

const graphs = process.argv.slice(2).map((path) => readFileSync(path));
const runtime = createRuntime();
/** Held, so that nothing is freed while memory is read. */
const sessions: Session[] = [];

const answers = {
  /** Each session is run once, as the first request would. */
  create(count: number): MergedResult {
    const first = runtime.createSession(graphs[0]!);
    runOnce(first);
    const before = usage().residentBytes;
    const began = performance.now();
    for (let at = 0; at < count; at++) sessions.push(runtime.createSession(graphs[at % graphs.length]!));
    const createSeconds = (performance.now() - began) / 1000;
    for (const session of sessions) runOnce(session);
    return { createSeconds, bytes: usage().residentBytes - before };
  },
};
export type MergedAnswers = typeof answers;

answerParent(answers);

function runOnce(session: Session): void {
  const feeds = session.inputs.map(
    ({ name, shape }) => [name, floatTensor([1, Number(shape.at(-1))])] as const,
  );
  session.run(Object.fromEntries(feeds));
}
