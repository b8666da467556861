/**
 * The adapters of a factored model by name: which version requests begin with, which are in memory, which stay
 * there, where the files of the others are. Not the tensors that graphs read: see `adapter-bank.ts`.
 *
 * An adapter in memory never changes. A new version is checked whole and stored first, then becomes the one that
 * requests begin with by one assignment; requests that began keep the object that they hold. At most
 * `residentLimit` are kept in memory, the least recently used goes first and is read again when it is asked for.
 */

import { join } from "node:path";
import { LorasaError, suggestion } from "../../src/base/errors.ts";
import { DTYPES } from "../../src/base/tensor.ts";
import {
  ADAPTER_DTYPES,
  type AdapterLayer,
  type ModelManifest,
  NAME_PATTERN,
} from "../../src/checkpoint/repository.ts";
import { busy, changing, gone, loadedAlready, wrongChecksum } from "./adapter-errors.ts";
import { adapterFolders, backboneOf, readAdapterFolder } from "./adapter-folder.ts";
import { type AdapterFit, type CheckedAdapter, checkAdapterFiles } from "./adapter-intake.ts";
import { type AdapterRecord, isHeld, leave, newRecord } from "./adapter-record.ts";
import type { AdapterStore } from "./adapter-store.ts";
import type { AdapterEvent, EngineEvents } from "./events.ts";
import type { ResidentAdapter } from "./resident-adapter.ts";
import type { AdapterLoad, AdapterStatus, Adapters } from "./service.ts";

export interface RegistryOptions {
  /** The model's own `adapters/`. */
  readonly folder: string;
  readonly store: AdapterStore;
  /** Most adapters in memory; at least one for each agent is kept. */
  readonly residentLimit: number;
  /** Most adapters that are known by name. */
  readonly adapterLimit: number;
  readonly events: EngineEvents;
  /** Last versions of adapters in the registry before this one: a number never means other contents than before. */
  readonly lastVersions: ReadonlyMap<string, number>;
}

export class AdapterRegistry implements Adapters {
  readonly layers: readonly AdapterLayer[];
  readonly #manifest: ModelManifest;
  readonly #fit: AdapterFit;
  readonly #options: RegistryOptions;
  readonly #records = new Map<string, AdapterRecord>();
  /** Names in the model's folder without a record. */
  readonly #shipped: Set<string>;
  /** Work on an adapter's versions that is under way, by name: one after the other. */
  readonly #locks = new Map<string, Promise<unknown>>();
  /** Adapters between their check and their installation, and whether they will be pinned: they take room already. */
  readonly #arriving = new Map<string, boolean>();
  readonly #residentLimit: number;
  readonly #drained = new Set<() => void>();
  readonly #agents: ReadonlyMap<string, number>;
  /** Numbers that are taken: the first version of an adapter of the model's folder is the next. */
  readonly #taken: Map<string, number>;
  #residentCount = 0;
  #paused = false;
  #team: readonly ResidentAdapter[] | undefined;
  #teamUsed = 0;

  constructor(manifest: ModelManifest, fit: AdapterFit, options: RegistryOptions) {
    this.layers = manifest.adapterLayers;
    this.#manifest = manifest;
    this.#fit = fit;
    this.#options = options;
    this.#residentLimit = Math.max(options.residentLimit, manifest.agents.length);
    this.#taken = new Map(options.lastVersions);
    this.#agents = new Map(manifest.agents.map(({ name }, index) => [name, index]));
    this.#shipped = new Set(adapterFolders(options.folder).filter((name) => this.agentOf(name) >= 0));
    for (const [name, versions] of options.store.versions()) this.#restore(name, versions);
  }

  /** Bytes of an adapter's numbers. */
  get adapterBytes(): number {
    return this.#fit.layout.length * DTYPES[ADAPTER_DTYPES[this.#fit.precision]].bytes;
  }

  /** Adapters in memory. */
  get residentCount(): number {
    return this.#residentCount;
  }

  /** Adapters that are known by name, loaded or not. */
  get count(): number {
    return this.#records.size + this.#shipped.size;
  }

  /**
   * Reads the agents' own adapters, those that there are, so that the first requests find them. One that was pushed
   * and cannot be used any more is a fault of it alone: another push mends it.
   * @throws what checking a file throws, for those that the model ships.
   */
  async readOwn(): Promise<void> {
    for (const { name } of this.#manifest.agents.filter((agent) => this.has(agent.name))) {
      try {
        await this.get(name);
      } catch (error) {
        if (this.#known(name).folder === join(this.#options.folder, name))
          throw (error as Error).cause ?? error;
        this.#options.events.fault(error);
      }
    }
  }

  /** Whether requests may use it: in memory or in a folder, and not unloaded. */
  has(name: string): boolean {
    const record = this.#records.get(name);
    return record ? !record.unloaded : this.#shipped.has(name);
  }

  /**
   * The adapter that requests of this moment begin with; a promise when it must be read from its files first.
   * @throws LORASA_UNKNOWN_ADAPTER: the backbone alone never answers in an adapter's place; LORASA_UNAVAILABLE when
   *   its files are gone or changed.
   */
  get(name: string): ResidentAdapter | Promise<ResidentAdapter> {
    const record = this.#known(name);
    const { resident } = record;
    if (!resident) {
      record.reading ??= this.#startReading(record);
      return record.reading;
    }
    record.used = performance.now();
    return resident;
  }

  /** Every agent's own adapter in the team's order, when all are in memory: one array until one of them changes. */
  team(): readonly ResidentAdapter[] | undefined {
    this.#team ??= this.#collectTeam();
    if (this.#team) this.#teamUsed = performance.now();
    return this.#team;
  }

  /** Index of the agent for whose rows an adapter is: the agent of its name, or of what is before one of its dots. */
  agentOf(name: string): number {
    for (let end = name.length; end > 0; end = name.lastIndexOf(".", end - 1)) {
      const agent = this.#agents.get(name.slice(0, end));
      if (agent !== undefined) return agent;
    }
    return -1;
  }

  /** A request that held adapters is done: whoever waits for one to be free looks again. */
  released(): void {
    for (const look of this.#drained) look();
  }

  list(): readonly AdapterStatus[] {
    const others = [...this.#records.keys(), ...this.#shipped].filter((name) => !this.#agents.has(name));
    return [...this.#agents.keys(), ...others.sort()].map((name) => this.#status(name));
  }

  status(name: string): AdapterStatus {
    if (this.#records.has(name) || this.#shipped.has(name) || this.#agents.has(name))
      return this.#status(name);
    throw this.#unknown(name);
  }

  load(name: string, load: AdapterLoad): Promise<AdapterStatus> {
    return this.#locked(name, async () => {
      this.#checkName(name);
      if (this.has(name) && !load.replace) throw loadedAlready(name);
      const checked = checkAdapterFiles(name, load.files, this.#fit);
      if (load.sha256 !== undefined && load.sha256.toLowerCase() !== checked.sha256) {
        throw wrongChecksum(name, load.sha256, checked.sha256);
      }
      if (load.pin) this.#checkPins(name);
      this.#checkCount(name);
      const kind = this.has(name) ? "replaced" : "loaded";
      this.#arriving.set(name, load.pin ?? false);
      await this.#install(name, load.files, checked, kind).finally(() => this.#arriving.delete(name));
      if (load.pin) this.#known(name).pinned = true;
      return this.#status(name);
    });
  }

  unload(name: string, drain: boolean): Promise<AdapterStatus> {
    return this.#locked(name, async () => {
      const record = this.#known(name);
      if (record.pinned) throw busy(name, "one that is not pinned", "a pinned one", "unpin it first");
      if (!drain && isHeld(record)) {
        throw busy(name, "one that no request holds", "one in use", "ask with drain to wait");
      }
      const { reading } = record;
      this.#drop(record);
      record.unloaded = true;
      this.#tell("unloaded", record, 0);
      // Requests that began with it need its files a moment longer.
      await reading?.catch(() => {});
      await this.#free(record);
      // A durable store would bring it back with the next server.
      if (record.previous) await this.#options.store.remove(name, record.previous.version);
      await this.#options.store.remove(name, record.version);
      await this.#options.store.forget(name);
      record.previous = undefined;
      return this.#status(name);
    });
  }

  pin(name: string, pinned: boolean): Promise<AdapterStatus> {
    return this.#locked(name, async () => {
      const record = this.#known(name);
      if (pinned && !record.pinned) this.#checkPins(name);
      const before = record.pinned;
      record.pinned = pinned;
      try {
        if (pinned) await this.get(name);
      } catch (error) {
        record.pinned = before;
        throw error;
      }
      return this.#status(name);
    });
  }

  rollback(name: string): Promise<AdapterStatus> {
    return this.#locked(name, async () => {
      const record = this.#known(name);
      const { previous } = record;
      if (!previous) {
        throw new LorasaError("LORASA_UNKNOWN_ADAPTER", {
          asked: `adapter ${name}, the version before ${record.version}`,
          expected: "one that was replaced",
          received: "none",
        });
      }
      const files = await readAdapterFolder(name, previous.folder);
      await this.#install(name, files, this.#checkAgain(name, files, previous.sha256), "rolled back");
      return this.#status(name);
    });
  }

  /** Refuses changes from now on, since another registry of the same store takes over, and waits for those under way. */
  async pause(): Promise<void> {
    this.#paused = true;
    await Promise.allSettled(this.#locks.values());
  }

  /** No other took over. */
  resume(): void {
    this.#paused = false;
  }

  /** The last version of each adapter that requests may have seen. */
  get lastVersions(): ReadonlyMap<string, number> {
    const versions = new Map(this.#taken);
    for (const { name, version } of this.#records.values()) versions.set(name, version);
    return versions;
  }

  /** Stores a checked adapter, then makes it the one that requests begin with. */
  async #install(
    name: string,
    files: AdapterLoad["files"],
    checked: CheckedAdapter,
    kind: AdapterEvent["kind"],
  ): Promise<void> {
    const record =
      this.#records.get(name) ??
      (this.#shipped.has(name) ? this.#known(name) : newRecord(name, join(this.#options.folder, name)));
    const version = Math.max(record.version, this.#taken.get(name) ?? 0) + 1;
    const folder = await this.#options.store.write(name, version, files);
    const started = performance.now();
    const { previous } = record;
    const replaced = record.version > 0 && !record.unloaded;
    const { folder: oldFolder, sha256 } = record;
    record.previous = replaced ? { version: record.version, folder: oldFolder, sha256 } : undefined;
    Object.assign(record, { version, folder, sha256: checked.sha256, bytes: files.tensors.length });
    // Of the version before: those who ask from now on do not wait for it.
    record.reading = undefined;
    record.unloaded = false;
    record.loadedAtMs = Date.now();
    this.#records.set(name, record);
    this.#shipped.delete(name);
    this.#keep(record, { name, version, holders: 0, ...checked });
    this.#tell(kind, record, (performance.now() - started) / 1000);
    // Only versions of the store are removed: the model's own folder is not ours.
    if (previous) await this.#options.store.remove(name, previous.version);
  }

  #startReading(record: AdapterRecord): Promise<ResidentAdapter> {
    const { version } = record;
    const reading: Promise<ResidentAdapter> = this.#read(record)
      .catch((error: unknown) => {
        // Replaced so often meanwhile that its files are gone.
        if (record.version !== version && !record.unloaded) return this.get(record.name);
        throw error;
      })
      .finally(() => {
        if (record.reading === reading) record.reading = undefined;
      });
    // Whoever asked may have failed of something else before it settles.
    reading.catch(() => {});
    return reading;
  }

  async #read(record: AdapterRecord): Promise<ResidentAdapter> {
    const { name, folder, version, sha256 } = record;
    const files = await readAdapterFolder(name, folder);
    const checked = this.#checkAgain(name, files, sha256);
    const adapter = { name, version, holders: 0, ...checked };
    // A push that came in between has made another the current one.
    if (record.version !== version || record.unloaded) return record.resident ?? adapter;
    record.sha256 = checked.sha256;
    record.bytes = files.tensors.length;
    record.loadedAtMs ||= Date.now();
    this.#keep(record, adapter);
    this.#tell("read", record, 0);
    return adapter;
  }

  /**
   * Checks files that were accepted once: that they do not fit any more is not the fault of who asks.
   * @param expected SHA-256 of their tensors; empty when they were not read yet.
   */
  #checkAgain(name: string, files: AdapterLoad["files"], expected: string): CheckedAdapter {
    let checked: CheckedAdapter;
    try {
      checked = checkAdapterFiles(name, files, this.#fit);
    } catch (cause) {
      throw gone(name, "other contents", cause);
    }
    if (expected === "" || checked.sha256 === expected) return checked;
    throw gone(name, "other contents");
  }

  #keep(record: AdapterRecord, adapter: ResidentAdapter): void {
    if (record.resident) leave(record);
    else this.#residentCount += 1;
    record.resident = adapter;
    record.used = performance.now();
    if (this.#agents.has(record.name)) this.#team = undefined;
    while (this.#residentCount > this.#residentLimit) this.#evict(record);
  }

  /** Forgets the least recently used one that is not pinned; requests that hold it finish with it. */
  #evict(newest: AdapterRecord): void {
    for (const { name } of this.#team ?? []) {
      const record = this.#records.get(name)!;
      record.used = Math.max(record.used, this.#teamUsed);
    }
    let oldest = newest;
    for (const record of this.#records.values()) {
      if (!record.resident || record.pinned || record === newest) continue;
      if (oldest === newest || record.used < oldest.used) oldest = record;
    }
    this.#drop(oldest);
    this.#tell("evicted", oldest, 0);
  }

  #drop(record: AdapterRecord): void {
    if (!record.resident) return;
    leave(record);
    record.resident = undefined;
    this.#residentCount -= 1;
    if (this.#agents.has(record.name)) this.#team = undefined;
  }

  /** Settles when no request holds the adapter any more. */
  #free(record: AdapterRecord): Promise<void> {
    return new Promise((resolve) => {
      const look = (): void => {
        if (isHeld(record)) return;
        this.#drained.delete(look);
        resolve();
      };
      this.#drained.add(look);
      look();
    });
  }

  #collectTeam(): readonly ResidentAdapter[] | undefined {
    const team: ResidentAdapter[] = [];
    for (const { name } of this.#manifest.agents) {
      const resident = this.#records.get(name)?.resident;
      if (!resident) return undefined;
      team.push(resident);
    }
    return team;
  }

  /** The record of an adapter that requests may use. */
  #known(name: string): AdapterRecord {
    const record = this.#records.get(name);
    if (record && !record.unloaded) return record;
    if (record || !this.#shipped.has(name)) throw this.#unknown(name);
    const created = newRecord(name, join(this.#options.folder, name));
    this.#shipped.delete(name);
    created.version = this.#firstVersion(name);
    this.#records.set(name, created);
    return created;
  }

  #firstVersion(name: string): number {
    return (this.#taken.get(name) ?? 0) + 1;
  }

  /**
   * What was pushed before: its last version is the current one, ahead of the model's own, unless it was pushed for
   * another backbone.
   */
  #restore(name: string, versions: readonly number[]): void {
    const version = versions.at(-1);
    if (version === undefined || this.agentOf(name) < 0) return;
    const { folder, store } = this.#options;
    const current = store.folderOf(name, version);
    if ((backboneOf(current) ?? this.#fit.backboneSha256) !== this.#fit.backboneSha256) {
      this.#taken.set(name, Math.max(version, this.#taken.get(name) ?? 0));
      return;
    }
    const before = versions.at(-2);
    // The model's own is version 1 and stays in its folder.
    const own =
      version === 2 && this.#shipped.has(name) ? { version: 1, folder: join(folder, name) } : undefined;
    const stored =
      before === undefined ? undefined : { version: before, folder: store.folderOf(name, before) };
    const previous = stored ?? own;
    this.#records.set(name, {
      ...newRecord(name, current),
      version,
      previous: previous && { ...previous, sha256: "" },
    });
    this.#shipped.delete(name);
  }

  #status(name: string): AdapterStatus {
    const record = this.#records.get(name) ?? newRecord(name, join(this.#options.folder, name));
    const ready = this.has(name);
    const used = this.#team && this.#agents.has(name) ? Math.max(record.used, this.#teamUsed) : record.used;
    return {
      name,
      agent: this.#manifest.agents[this.agentOf(name)]?.name ?? "",
      // One that only lies in the model's folder so far.
      version: record.version === 0 && ready ? this.#firstVersion(name) : record.version,
      state: ready ? "READY" : "UNAVAILABLE",
      reason: ready ? "" : "unloaded",
      resident: record.resident !== undefined,
      pinned: record.pinned,
      sha256: ready ? record.sha256 : "",
      bytes: record.bytes,
      loadedAtMs: record.loadedAtMs,
      lastUsedMs: used > 0 ? Math.round(performance.timeOrigin + used) : 0,
      previousVersion: record.previous?.version ?? 0,
    };
  }

  #tell(kind: AdapterEvent["kind"], record: AdapterRecord, seconds: number): void {
    const { name: adapter, version, sha256 } = record;
    this.#options.events.adapter({
      kind,
      model: this.#manifest.name,
      adapter,
      version,
      sha256,
      seconds,
    });
  }

  /** Runs what changes an adapter after what was asked before for the same one. */
  #locked<T>(name: string, work: () => Promise<T>): Promise<T> {
    if (this.#paused) return Promise.reject(changing(name, this.#manifest.name));
    const done = (this.#locks.get(name) ?? Promise.resolve()).then(work, work);
    this.#locks.set(name, done);
    const forget = (): void => {
      if (this.#locks.get(name) === done) this.#locks.delete(name);
    };
    done.then(forget, forget);
    return done;
  }

  #checkName(name: string): void {
    if (NAME_PATTERN.test(name) && this.agentOf(name) >= 0) return;
    throw new LorasaError("LORASA_UNKNOWN_AGENT", {
      asked: `adapter ${JSON.stringify(name.slice(0, 80))}`,
      expected: `an agent of ${this.#manifest.name}, or <agent>.<variant>`,
      received: "another name",
      mend: suggestion(name.slice(0, 80), [...this.#agents.keys()]),
    });
  }

  #checkCount(name: string): void {
    const { adapterLimit } = this.#options;
    const isNew = (other: string): boolean => !this.#records.has(other) && !this.#shipped.has(other);
    const arriving = [...this.#arriving.keys()].filter(isNew).length;
    if (!isNew(name) || this.count + arriving < adapterLimit) return;
    if (this.#forgetUnloaded()) return;
    throw new LorasaError("LORASA_TOO_LARGE", {
      asked: `adapter ${name}`,
      expected: `at most ${adapterLimit} adapters`,
      received: "one more",
      mend: "unload some, or start the server with a larger --max-adapters",
    });
  }

  /** Makes room for a name: all that is lost is the last version number of one that is unloaded. */
  #forgetUnloaded(): boolean {
    for (const { name, unloaded } of this.#records.values()) {
      if (unloaded && !this.#agents.has(name)) return this.#records.delete(name);
    }
    return false;
  }

  /** Pinned variants leave room for each agent's own adapter. */
  #checkPins(name: string): void {
    if (this.#agents.has(name)) return;
    const arriving = [...this.#arriving].filter(([, pinned]) => pinned).map(([other]) => other);
    const kept = [...this.#records.values()].filter(({ pinned }) => pinned).map((record) => record.name);
    const others = new Set(
      [...kept, ...arriving].filter((other) => other !== name && !this.#agents.has(other)),
    );
    const most = this.#residentLimit - this.#agents.size;
    if (others.size < most) return;
    throw new LorasaError("LORASA_BUSY", {
      asked: `pinning adapter ${name}`,
      expected: `at most ${most} pinned besides the agents' own`,
      received: "one more",
      mend: "unpin some, or start the server with a larger --resident-adapters",
    });
  }

  #unknown(name: string): LorasaError {
    return new LorasaError("LORASA_UNKNOWN_ADAPTER", {
      asked: `adapter ${JSON.stringify(name.slice(0, 80))} of ${this.#manifest.name}`,
      expected: "a loaded one",
      received: "none",
      mend: this.#agents.has(name) ? "push one, or leave this agent out" : "push it first",
    });
  }
}
