/**
 * Who simulates which environments: simulators register, get environments, are told what to do next, answer, vanish, and
 * others take over. Not HTTP (`http-edge.ts`), and not the trainer's memory (`remote-group.ts`).
 */
import { randomBytes } from "node:crypto";
import { LorasaError } from "../../base/errors.ts";
import { type Body, readAnswer } from "./answer.ts";
import { registrationDifference } from "./differences.ts";
import { FreeEnvironments } from "./free-environments.ts";
import type { Layout } from "./layout.ts";
import type { RemoteGroup } from "./remote-group.ts";
import {
  addPart,
  countOf,
  joinShown,
  newSimulator,
  outOfTurn,
  type Part,
  type Reply,
  type Simulator,
  type Told,
} from "./simulator.ts";
import type { Registration } from "./spaces.ts";

/** Simulators that may be registered at once, those waiting in line included. */
const MAX_SIMULATORS = 1024;
/** Names of simulators that are gone, kept to tell them so. */
const REMEMBERED = 1024;

/** How many environments have a simulator. */
export interface RemoteStatus {
  readonly environments: number;
  readonly connected: number;
  readonly simulators: number;
  /** Registered without an environment: they take over when one is free. */
  readonly inLine: number;
}

export interface SimulatorsOptions {
  readonly registration: Registration;
  readonly layout: Layout;
  readonly groups: readonly RemoteGroup[];
  /** In each group. */
  readonly envs: number;
  readonly timeoutMs: number;
  readonly now: () => number;
  readonly onNote: (line: string) => void;
  readonly onStatus: (status: RemoteStatus) => void;
  /** Milliseconds that a simulator took for a command. */
  readonly onSpent: (ms: number) => void;
}

export class Simulators {
  readonly #options: SimulatorsOptions;
  readonly #simulators = new Map<string, Simulator>();
  /** Names of those that are gone, with why. */
  readonly #gone = new Map<string, string>();
  readonly #free: FreeEnvironments;
  #count = 0;

  constructor(options: SimulatorsOptions) {
    this.#options = options;
    this.#free = new FreeEnvironments(options.groups.length, options.envs);
  }

  get status(): RemoteStatus {
    const all = [...this.#simulators.values()];
    const environments = this.#options.groups.length * this.#options.envs;
    const inLine = all.filter(({ parts }) => parts.length === 0).length;
    return { environments, connected: environments - this.#free.count, simulators: all.length, inLine };
  }

  /**
   * Takes a simulator in; its name is how it is called from now on.
   * @throws LORASA_SIMULATOR for other spaces than the first simulator's, LORASA_UNAVAILABLE for one too many.
   */
  register(registration: Registration): { readonly name: string; readonly environments: number } {
    const other = registrationDifference(this.#options.registration, registration);
    if (other !== undefined) {
      const { field, expected, received } = other;
      throw new LorasaError("LORASA_SIMULATOR", {
        asked: `a simulator of other spaces than those being trained, ${field}`,
        expected,
        received,
        mend: "register with the same spaces as the first simulator, or start another training for this task",
      });
    }
    if (this.#simulators.size >= MAX_SIMULATORS) {
      throw new LorasaError("LORASA_UNAVAILABLE", {
        asked: "registration",
        expected: `at most ${MAX_SIMULATORS} simulators`,
        received: "one more",
      });
    }
    this.#count += 1;
    // The number is for people; the rest keeps one trainer's simulators from answering another's.
    const name = `${this.#count}-${randomBytes(4).toString("hex")}`;
    const simulator = newSimulator(name, registration.environments, this.#options.now());
    this.#simulators.set(name, simulator);
    this.#allot();
    this.#tell();
    return { name, environments: countOf(simulator) };
  }

  /**
   * A request of simulator `name`: the answer to command `sequence`, or asking for the one after it. `reply` is called
   * once, now or later; the returned function takes it back. A refused answer changes nothing.
   * @throws LORASA_SIMULATOR for a simulator that is gone or an answer that is late, and what `readAnswer` throws.
   */
  next(name: string, sequence: number, body: Body, reply: Reply): () => void {
    const simulator = this.#find(name);
    simulator.seenAt = this.#options.now();
    const { told } = simulator;
    if (told !== undefined && sequence === simulator.sent) this.#take(simulator, told, body);
    else if (sequence !== simulator.answered) throw outOfTurn(simulator, sequence);
    this.#release(simulator);
    simulator.waiting = reply;
    this.#dispatch(simulator);
    return () => {
      if (simulator.waiting === reply) simulator.waiting = undefined;
      simulator.seenAt = this.#options.now();
    };
  }

  /** A simulator leaves. @throws LORASA_SIMULATOR for one that is gone. */
  leave(name: string): void {
    this.#remove(this.#find(name), "left");
  }

  /** The trainer's step of a group: parts that it sees are told their actions, the others' episodes are cut off. */
  step(index: number): void {
    const group = this.#options.groups[index]!;
    group.begin("step");
    for (const simulator of this.#simulators.values()) joinShown(simulator, index);
    for (const [simulator, part] of this.#partsOf(index)) {
      if (part.state === "shown") this.#want(simulator, part, "act");
      else if (part.state === "fresh") this.#show(part);
    }
  }

  /** The trainer's reset of a group: another episode everywhere. */
  reset(index: number, seed: number): void {
    const group = this.#options.groups[index]!;
    group.seed(seed);
    group.begin("reset");
    for (const [simulator, part] of this.#partsOf(index)) {
      part.fresh = undefined;
      if (part.state === "resetting" || part.state === "acting") part.again = true;
      else this.#want(simulator, part, "reset");
    }
  }

  /** Gives up those that have asked for nothing for the timeout. */
  expire(): void {
    const { now, timeoutMs } = this.#options;
    for (const simulator of [...this.#simulators.values()]) {
      if (simulator.waiting !== undefined || now() - simulator.seenAt <= timeoutMs) continue;
      this.#remove(simulator, `was given up: no request for ${timeoutMs / 1000} s`);
    }
  }

  /** Tells all that wait that training is over. */
  close(): void {
    for (const simulator of [...this.#simulators.values()]) {
      if (simulator.waiting === undefined) continue;
      simulator.waiting({ kind: "close", sequence: simulator.answered });
      this.goodbye(simulator.name);
    }
  }

  /** A simulator has heard that training is over. */
  goodbye(name: string): void {
    this.#simulators.delete(name);
  }

  /** Checks an answer whole, then uses it. */
  #take(simulator: Simulator, { command, part, at }: Told, body: Body): void {
    const { layout, groups, now, onSpent } = this.#options;
    const answer = readAnswer(body, command.kind, part.own.length, layout);
    simulator.answered = simulator.sent;
    simulator.told = undefined;
    onSpent(now() - at);
    const group = groups[part.group]!;
    if (part.again) {
      part.again = false;
      part.state = "reset";
    } else if (command.kind === "act") {
      part.state = "shown";
      group.step(part.own, answer);
    } else {
      part.fresh = answer;
      part.state = "fresh";
      if (group.underWay !== undefined) this.#show(part);
    }
  }

  /** What cannot be shown yet comes with the group's next step. */
  #show(part: Part): void {
    const whole = this.#options.groups[part.group]!.show(part.own, part.fresh!);
    part.state = whole ? "shown" : "fresh";
    if (whole) part.fresh = undefined;
  }

  #want(simulator: Simulator, part: Part, state: "reset" | "act"): void {
    part.state = state;
    this.#dispatch(simulator);
  }

  /** Tells a simulator that asks its next command, or again the one whose reply was lost. */
  #dispatch(simulator: Simulator): void {
    if (simulator.waiting === undefined) return;
    simulator.told ??= this.#nextCommand(simulator);
    if (simulator.told === undefined) return;
    simulator.waiting(simulator.told.command);
    simulator.waiting = undefined;
    simulator.seenAt = this.#options.now();
  }

  #nextCommand(simulator: Simulator): Told | undefined {
    const part = simulator.parts.find(({ state }) => state === "reset" || state === "act");
    if (part === undefined) return undefined;
    // The other part's turn comes first next time.
    simulator.parts = [...simulator.parts.filter((other) => other !== part), part];
    simulator.sent += 1;
    return { command: this.#command(simulator.sent, part), part, at: this.#options.now() };
  }

  #command(sequence: number, part: Part): Told["command"] {
    const group = this.#options.groups[part.group]!;
    const { environments } = part;
    if (part.state === "act") {
      part.state = "acting";
      return { kind: "act", sequence, environments, actions: group.takeActions(part.own) };
    }
    part.state = "resetting";
    return { kind: "reset", sequence, environments, seeds: part.own.map((e) => group.nextSeed(e)) };
  }

  /** Answers an older request of the same simulator that still waits. */
  #release(simulator: Simulator): void {
    simulator.waiting?.({ kind: "wait", sequence: simulator.answered });
    simulator.waiting = undefined;
  }

  /** Gives free environments to those in line, in the order in which they came, then to those that offered more. */
  #allot(): void {
    const all = [...this.#simulators.values()];
    const inLine = all.filter(({ parts }) => parts.length === 0);
    for (const simulator of [...inLine, ...all.filter((other) => !inLine.includes(other))]) {
      const had = countOf(simulator);
      for (const [group, own] of this.#free.take(simulator.most - had)) {
        const { seeded } = this.#options.groups[group]!;
        addPart(simulator, { group, own, state: seeded ? "reset" : "idle" });
      }
      const given = countOf(simulator) - had;
      if (given === 0) continue;
      if (had > 0) this.#options.onNote(`simulator ${simulator.name} takes over ${given} more of them`);
      this.#dispatch(simulator);
    }
  }

  #remove(simulator: Simulator, why: string): void {
    this.#simulators.delete(simulator.name);
    this.#gone.set(simulator.name, why);
    for (const oldest of this.#gone.keys()) {
      if (this.#gone.size <= REMEMBERED) break;
      this.#gone.delete(oldest);
    }
    simulator.waiting?.({ kind: "close", sequence: simulator.answered });
    simulator.waiting = undefined;
    for (const { group, own } of simulator.parts) this.#free.giveBack(group, own);
    const dropped = countOf(simulator);
    const what =
      dropped === 0 ? "" : `; its ${dropped} unfinished episode${dropped > 1 ? "s are" : " is"} dropped`;
    this.#options.onNote(`simulator ${simulator.name} ${why}${what}`);
    this.#allot();
    this.#tell();
  }

  #find(name: string): Simulator {
    const simulator = this.#simulators.get(name);
    if (simulator !== undefined) return simulator;
    throw new LorasaError("LORASA_SIMULATOR", {
      asked: `simulator ${name.slice(0, 40)}`,
      expected: "one that is registered",
      received: this.#gone.has(name) ? `one that ${this.#gone.get(name)}` : "an unknown one",
      mend: "register again",
    });
  }

  *#partsOf(group: number): Iterable<[Simulator, Part]> {
    for (const simulator of this.#simulators.values())
      for (const part of [...simulator.parts]) if (part.group === group) yield [simulator, part];
  }

  #tell(): void {
    this.#options.onStatus(this.status);
  }
}
