/**
 * Decides which of a training run's adapters go to a running server, and keeps count. Training never waits for it and
 * never learns of its failures. Not how they are sent (`delivery.ts`).
 *
 * A candidate is looked at every so many steps, at the first iteration with adapters and at the last. It is sent when
 * the mean return of recent episodes is at least that of the best adapters sent so far. One push is under way at a
 * time; of candidates that wait, the newest is sent.
 */
import { agentAdapter, fileTensors, type Team } from "../../../models/team.ts";
import { backboneIdentity } from "../../checkpoint/checkpoint.ts";
import type { PushOutcome, TeamPush } from "./delivery.ts";
import type { Sender } from "./thread-sender.ts";

/** Where training stands. */
export interface TrainingMoment {
  readonly envSteps: number;
  /** Of recent episodes; null while none has ended. */
  readonly meanReturn: number | null;
}

export interface PusherOptions {
  readonly sender: Sender;
  /** Environment steps between candidates. */
  readonly every: number;
  /** The run's steps: its last iteration is always looked at. */
  readonly steps: number;
  /** Sends every candidate, whatever its return. */
  readonly always: boolean;
  /** Told of each kind of failure once. */
  readonly onProblem: (outcome: Exclude<PushOutcome, { kind: "pushed" }>) => void;
}

/** What came of a run's pushes; each counts a whole team. */
export interface PushSummary {
  readonly pushed: number;
  /** Refused by the server, or unfit for its model. */
  readonly rejected: number;
  /** Not received: the server was away or busy. */
  readonly lost: number;
  /** Replaced by a newer candidate before they were sent. */
  readonly superseded: number;
  /** By adapter, of the last push that succeeded. */
  readonly versions: Readonly<Record<string, string>>;
  /** Step of those adapters; null when none was pushed. */
  readonly envSteps: number | null;
  /** The last failure; null when there was none. */
  readonly problem: string | null;
}

interface Candidate extends TrainingMoment {
  readonly push: TeamPush;
}

/** How long the end of a run waits for a push that is under way. */
const FINISH_MS = 10_000;

export class AdapterPusher {
  readonly #options: PusherOptions;
  readonly #told = new Set<string>();
  readonly #counts = { pushed: 0, rejected: 0, lost: 0, superseded: 0 };
  #backboneSha256: string | undefined;
  #lookedAt: number | undefined;
  #sending: Candidate | undefined;
  #next: Candidate | undefined;
  #settled: Promise<void> = Promise.resolve();
  /** The best return sent so far; undefined before the first push. */
  #best: number | undefined;
  #versions: Readonly<Record<string, string>> = {};
  #pushedAt: number | null = null;
  #problem: string | null = null;

  constructor(options: PusherOptions) {
    this.#options = options;
  }

  /** Takes the team in as it is now, after an iteration; a team without adapters is passed over. */
  offer(team: Team, moment: TrainingMoment): void {
    if (team.adapters === undefined || !this.#isDue(moment.envSteps)) return;
    this.#lookedAt = moment.envSteps;
    if (!this.#isWanted(moment.meanReturn)) return;
    const candidate = { ...moment, push: this.#snapshot(team) };
    if (this.#sending === undefined) this.#send(candidate);
    else {
      if (this.#next !== undefined) this.#counts.superseded += 1;
      this.#next = candidate;
    }
  }

  /** Waits for what is under way, ten seconds at most, and says what came of it all. */
  async finish(waitMs = FINISH_MS): Promise<PushSummary> {
    let timer: NodeJS.Timeout | undefined;
    const timeUp = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, waitMs);
    });
    await Promise.race([this.#untilIdle(), timeUp]);
    clearTimeout(timer);
    const unsent = [this.#sending, this.#next].filter((candidate) => candidate !== undefined).length;
    return {
      ...this.#counts,
      lost: this.#counts.lost + unsent,
      versions: this.#versions,
      envSteps: this.#pushedAt,
      problem: unsent === 0 ? this.#problem : `no answer within ${waitMs} ms of the end of training`,
    };
  }

  async close(): Promise<void> {
    await this.#options.sender.close();
  }

  async #untilIdle(): Promise<void> {
    while (this.#sending !== undefined) await this.#settled;
  }

  #isDue(envSteps: number): boolean {
    const { every, steps } = this.#options;
    if (this.#lookedAt === undefined || envSteps >= steps) return true;
    return Math.floor(envSteps / every) > Math.floor(this.#lookedAt / every);
  }

  /** Those under way count as sent, so that a worse candidate does not follow a better one. */
  #isWanted(meanReturn: number | null): boolean {
    if (this.#options.always) return true;
    const sent = [this.#best, returnOf(this.#sending), returnOf(this.#next)].filter(
      (value) => value !== undefined,
    );
    return sent.length === 0 || (meanReturn !== null && meanReturn >= Math.max(...sent));
  }

  #send(candidate: Candidate): void {
    this.#sending = candidate;
    const failed = (error: Error): PushOutcome => ({ kind: "rejected", problem: error.message });
    this.#settled = this.#options.sender
      .send(candidate.push)
      .catch(failed)
      .then((outcome) => {
        this.#sending = undefined;
        this.#record(candidate, outcome);
        const next = this.#next;
        this.#next = undefined;
        if (next !== undefined) this.#send(next);
      });
  }

  #record(candidate: Candidate, outcome: PushOutcome): void {
    if (outcome.kind === "pushed") {
      this.#counts.pushed += 1;
      this.#best = Math.max(this.#best ?? Number.NEGATIVE_INFINITY, returnOf(candidate)!);
      this.#versions = outcome.versions;
      this.#pushedAt = candidate.envSteps;
      return;
    }
    this.#counts[outcome.kind === "away" ? "lost" : "rejected"] += 1;
    this.#problem = outcome.problem;
    if (this.#told.has(outcome.kind)) return;
    this.#told.add(outcome.kind);
    this.#options.onProblem(outcome);
  }

  /** A copy: what is offered may change while it waits. */
  #snapshot(team: Team): TeamPush {
    // Under adapters the backbone never changes.
    this.#backboneSha256 ??= backboneIdentity(fileTensors(team.parameters.backbone, team.backbone));
    const backboneSha256 = this.#backboneSha256;
    const copy = { ...team, adapters: team.adapters!.slice() };
    const adapters = team.agents.map(
      ({ name }, agent) => [name, { backboneSha256, layers: agentAdapter(copy, agent) }] as const,
    );
    const lora = team.sharing.kind === "low-rank" ? team.sharing.lora : undefined;
    return {
      adapters: Object.fromEntries(adapters),
      files: {
        ...(lora && { rank: lora.rank, alpha: lora.alpha }),
        baseModel: `lorasa/${team.environment.name}`,
      },
    };
  }
}

function returnOf(candidate: Candidate | undefined): number | undefined {
  return candidate && (candidate.meanReturn ?? Number.NEGATIVE_INFINITY);
}
