/**
 * A training run with its folder: metrics, TensorBoard events, evaluation, checkpoints, resuming. The learning itself is
 * `trainer.ts`.
 *
 * The folder holds `metrics.jsonl`, `events.out.tfevents.*`, `checkpoint/` (the latest) and, for LoRASA, `switch/` (the
 * shared policy when adapters start).
 */
import { join } from "node:path";
import { setImmediate } from "node:timers/promises";
import type { Team } from "../../models/team.ts";
import { LorasaError } from "../base/errors.ts";
import { mean, standardDeviation } from "../base/statistics.ts";
import { envSpec } from "../envs/registry.ts";
import { createVectorEnv } from "../envs/vector.ts";
import type { VectorEnv } from "../envs/vector-contract.ts";
import type { Runtime } from "../runtime/session.ts";
import { clusterAgents } from "./clustering.ts";
import { needsClusters, type Phase, phaseAt } from "./config.ts";
import { type Episode, meanFigures, meanReturn } from "./episodes.ts";
import { evaluate } from "./evaluation.ts";
import { MetricsFile } from "./log/metrics-file.ts";
import type { ProgressState } from "./log/progress.ts";
import { EventFile } from "./log/tensorboard.ts";
import { type SavedRun, saveRun, trainerState } from "./saved-run.ts";
import { openRun, requireSameTask, type StartOptions } from "./start.ts";
import { type IterationReport, Trainer } from "./trainer.ts";
import { type EnvironmentsOptions, isRemote, trainingEnvironments } from "./training-environments.ts";

export interface TrainRunOptions extends StartOptions, EnvironmentsOptions {
  readonly runtime: Runtime;
  /** When it fires, the iteration under way ends, a checkpoint is written and the run returns. */
  readonly signal?: AbortSignal;
  readonly onProgress?: (state: Omit<ProgressState, "perSecond">) => void;
  /** After each iteration; the team is a copy. */
  readonly onTeam?: (team: Team, at: { envSteps: number; meanReturn: number | null }) => void;
}

/** What a finished or interrupted run was. */
export interface TrainResult {
  readonly checkpoint: string;
  readonly envSteps: number;
  readonly envStepsPerSecond: number;
  /**
   * Of the deterministic evaluation at the end; of recent training episodes when interrupted or where simulators are
   * remote, NaN before one has ended.
   */
  readonly return: { readonly mean: number; readonly std: number };
  /** Means of what the task tells of those episodes besides, such as `won`. */
  readonly figures: Readonly<Record<string, number>>;
  readonly phases: readonly PhaseResult[];
  readonly interrupted: boolean;
}

/** How good the policy was at the end of a phase; step 0 is the untrained policy. */
export interface PhaseResult {
  readonly phase: Phase;
  readonly envSteps: number;
  /** Mean return of the deterministic evaluation; where simulators are remote, of recent training episodes. */
  readonly return: number;
  /** Means of what the task tells of its episodes besides, such as `won`. */
  readonly figures?: Readonly<Record<string, number>>;
}

/** Episodes that the mean return of progress lines is taken over. */
const RECENT_EPISODES = 20;
const EVALUATION_ENVS = 8;

/** @throws LORASA_EXISTS for a folder with a checkpoint unless resuming; LORASA_FILE without one when resuming. */
export async function train(options: TrainRunOptions): Promise<TrainResult> {
  const run = await TrainRun.start(options);
  try {
    return await run.loop();
  } finally {
    await run.close();
  }
}

class TrainRun {
  readonly #options: TrainRunOptions & { readonly clusterOf: readonly number[] | undefined };
  readonly #trainer: Trainer;
  readonly #vectorEnv: VectorEnv;
  readonly #metrics: MetricsFile;
  readonly #events: EventFile;
  readonly #phases: PhaseResult[];
  #evaluationEnv: VectorEnv | undefined;
  #recent: Episode[];
  #evaluated: readonly Episode[] = [];
  #secondsBefore: number;
  readonly #stepsBefore: number;
  readonly #started = performance.now();

  static async start(options: TrainRunOptions): Promise<TrainRun> {
    const { config, directory, runtime, onNote } = options;
    const checkpoint = join(directory, "checkpoint");
    // An unknown task is refused before a folder is made for it.
    if (!isRemote(config)) envSpec(config.env, config.envOptions);
    const loaded = openRun(options, checkpoint);
    const vectorEnv = await trainingEnvironments(options);
    let trainer: Trainer | undefined;
    try {
      if (loaded) requireSameTask(loaded.saved, vectorEnv.spec, options.from ?? checkpoint);
      const clusterOf = loaded?.saved.clusterOf ?? clustersOf(options, vectorEnv);
      trainer = new Trainer({ config, runtime, vectorEnv, clusterOf });
      if (loaded) {
        await trainer.restore(trainerState(loaded), loaded.saved.phase);
        onNote?.(`going on from step ${trainer.envSteps} of ${options.from ?? checkpoint}`);
      }
      return new TrainRun({ ...options, clusterOf }, trainer, vectorEnv, loaded?.saved);
    } catch (error) {
      // Threads that nobody closes would keep the process alive.
      await trainer?.close();
      await vectorEnv.close();
      throw error;
    }
  }

  private constructor(
    options: TrainRunOptions & { readonly clusterOf: readonly number[] | undefined },
    trainer: Trainer,
    vectorEnv: VectorEnv,
    saved: SavedRun | undefined,
  ) {
    this.#options = options;
    this.#trainer = trainer;
    this.#vectorEnv = vectorEnv;
    this.#recent = (saved?.recentEpisodes ?? []).map((episode) => ({ ...episode }));
    this.#phases = [...(saved?.phases ?? [])];
    this.#secondsBefore = saved?.counters.seconds ?? 0;
    this.#stepsBefore = trainer.envSteps;
    const resumeAt = options.resume ? { resumeAt: trainer.envSteps } : {};
    this.#metrics = new MetricsFile(join(options.directory, "metrics.jsonl"), resumeAt);
    this.#events = new EventFile(options.directory, resumeAt);
  }

  async loop(): Promise<TrainResult> {
    const { config, signal } = this.#options;
    if (this.#trainer.envSteps === 0 && config.evaluateEvery > 0) await this.#endPhase();
    while (!this.#trainer.done && !signal?.aborted) {
      const before = this.#trainer.envSteps;
      const report = await this.#iterate();
      if (!report) break;
      // Where nothing runs in a thread, nothing else lets a signal in.
      await setImmediate();
      this.#recent = [...this.#recent, ...report.episodes].slice(-RECENT_EPISODES);
      const evaluated = crossed(before, report.envSteps, config.evaluateEvery)
        ? await this.#evaluate()
        : undefined;
      this.#log(report, evaluated);
      const switches = report.phase === "shared" && phaseAt(config, report.envSteps) === "adapters";
      if (switches && !this.#trainer.done) await this.#endShared();
      else if (crossed(before, report.envSteps, config.saveEvery)) await this.#save("checkpoint");
    }
    const interrupted = !this.#trainer.done;
    const finished = this.#phases.at(-1)?.envSteps === this.#trainer.envSteps;
    if (!interrupted && !finished) await this.#endPhase();
    // A run that was finished before it was resumed is only measured again.
    if (!interrupted && this.#evaluated.length === 0) this.#evaluated = await this.#evaluate();
    await this.#save("checkpoint");
    return this.#result(interrupted);
  }

  async close(): Promise<void> {
    this.#metrics.close();
    this.#events.close();
    await this.#trainer.close();
    await this.#vectorEnv.close();
    await this.#evaluationEnv?.close();
  }

  /** Nothing when the run was stopped while it waited for simulators: the rollout under way is lost, nothing else. */
  async #iterate(): Promise<IterationReport | undefined> {
    try {
      return await this.#trainer.iterate();
    } catch (error) {
      const stopped = this.#options.signal?.aborted && error instanceof LorasaError;
      if (stopped && error.code === "LORASA_CANCELLED") return undefined;
      throw error;
    }
  }

  #log(report: IterationReport, evaluated: readonly Episode[] | undefined): void {
    const seconds = this.#secondsBefore + (performance.now() - this.#started) / 1000;
    const metrics: Record<string, number> = {
      return: meanReturn(this.#recent),
      episodes: report.episodes.length,
      ...prefixed("episode", meanFigures(this.#recent)),
      ...(evaluated?.length && { evaluationReturn: meanReturn(evaluated) }),
      ...(evaluated && prefixed("evaluation", meanFigures(evaluated))),
      ...report.figures,
      ...Object.fromEntries(Object.entries(report.ms).map(([name, ms]) => [`${name}Ms`, ms])),
    };
    this.#metrics.append({ envSteps: report.envSteps, seconds, phase: report.phase, metrics });
    this.#events.scalars(report.envSteps, grouped(metrics));
    const { phase, envSteps } = report;
    const reached = this.#recent.length === 0 ? null : meanReturn(this.#recent);
    const total = this.#trainer.config.steps;
    const { won } = meanFigures(this.#recent);
    this.#options.onProgress?.({
      phase,
      done: envSteps,
      total,
      meanReturn: reached,
      ...(won !== undefined && { winRate: won }),
    });
    this.#options.onTeam?.(this.#trainer.team, { envSteps, meanReturn: reached });
  }

  /** The shared policy as the adapters find it, kept beside the latest checkpoint. */
  async #endShared(): Promise<void> {
    const result = await this.#endPhase();
    const reached = result === undefined ? "not known: no episode has ended" : result.return.toFixed(1);
    await this.#save("switch");
    await this.#save("checkpoint");
    this.#options.onNote?.(
      `shared policy kept in ${join(this.#options.directory, "switch")}: return ${reached}; adapters start`,
    );
  }

  /** Evaluates and remembers how good the policy is here; nothing where no episode of remote simulators has ended yet. */
  async #endPhase(): Promise<PhaseResult | undefined> {
    this.#evaluated = await this.#evaluate();
    if (this.#evaluated.length === 0) return undefined;
    const result = {
      phase: this.#trainer.phase,
      envSteps: this.#trainer.envSteps,
      return: meanReturn(this.#evaluated),
      figures: meanFigures(this.#evaluated),
    };
    this.#phases.push(result);
    return result;
  }

  /** Played apart from training; where simulators are remote, what training saw last. */
  async #evaluate(): Promise<readonly Episode[]> {
    const { config, runtime } = this.#options;
    if (isRemote(config)) return this.#recent;
    this.#evaluationEnv ??= await createVectorEnv({
      name: config.env,
      options: config.envOptions,
      envs: Math.min(EVALUATION_ENVS, config.evaluationEpisodes),
      groups: 1,
    });
    // Other episodes than those trained on, the same ones each time.
    const seed = config.seed + 1_000_003;
    return evaluate(this.#trainer.team, {
      runtime,
      vectorEnv: this.#evaluationEnv,
      episodes: config.evaluationEpisodes,
      seed,
    });
  }

  async #save(folder: "checkpoint" | "switch"): Promise<void> {
    this.#metrics.flush();
    saveRun(join(this.#options.directory, folder), await this.#trainer.state(), {
      config: this.#trainer.config,
      phase: this.#trainer.phase,
      spec: this.#trainer.spec,
      seconds: this.#secondsBefore + (performance.now() - this.#started) / 1000,
      clusterOf: this.#options.clusterOf,
      recentEpisodes: this.#recent,
      phases: this.#phases,
    });
  }

  #result(interrupted: boolean): TrainResult {
    const seconds = (performance.now() - this.#started) / 1000;
    const episodes = interrupted ? this.#recent : this.#evaluated;
    const returns = episodes.map((episode) => episode.return);
    return {
      checkpoint: join(this.#options.directory, "checkpoint"),
      envSteps: this.#trainer.envSteps,
      envStepsPerSecond: (this.#trainer.envSteps - this.#stepsBefore) / seconds,
      return: { mean: mean(returns), std: standardDeviation(returns) },
      figures: meanFigures(episodes),
      phases: this.#phases,
      interrupted,
    };
  }
}

/** The clusters of agents where the run shares within them. */
function clustersOf(
  { config, runtime, onNote }: TrainRunOptions,
  vectorEnv: VectorEnv,
): readonly number[] | undefined {
  if (!needsClusters(config)) return undefined;
  const clusterOf = clusterAgents({ config, runtime, vectorEnv });
  const names = vectorEnv.spec.agents.map(({ name }, agent) => `${name}: ${clusterOf[agent]}`);
  onNote?.(`clusters of agents: ${names.join(", ")}`);
  return clusterOf;
}

/** `won` with the prefix `evaluation` is `evaluationWon`. */
function prefixed(prefix: string, figures: Readonly<Record<string, number>>): Record<string, number> {
  return Object.fromEntries(
    Object.entries(figures).map(([name, value]) => [
      `${prefix}${name[0]!.toUpperCase()}${name.slice(1)}`,
      value,
    ]),
  );
}

/** Whether a multiple of `every` lies in (before, after]. */
function crossed(before: number, after: number, every: number): boolean {
  return every > 0 && Math.floor(after / every) > Math.floor(before / every);
}

/** TensorBoard shows names with a slash in groups. */
function grouped(metrics: Readonly<Record<string, number>>): Record<string, number> {
  const group = (name: string): string =>
    name.endsWith("Ms") ? "time" : /^(evaluation|episode)|return/i.test(name) ? "return" : "update";
  return Object.fromEntries(
    Object.entries(metrics).map(([name, value]) => [`${group(name)}/${name}`, value]),
  );
}
