/** Pushes adapters to a server that is killed in the middle of it, and says what the next server must find. */
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { startServer } from "../../server/app.ts";
import { ServerClient } from "../../server/client.ts";
import { sha256 } from "../../src/base/files.ts";
import { CONFIG_FILE, encodeAdapter, TENSORS_FILE } from "../../src/checkpoint/peft.ts";
import { TinyPolicy, writeTinyRepository } from "./tiny-models.ts";
import { TOKEN } from "./tiny-server.ts";

const AGENT = "agent_0";
/** A durable store keeps the current version and the one before. */
const MOST_VERSIONS = 2;

/** What the store holds of the adapter: numbers of a seed under a version. */
interface Stored {
  readonly version: number;
  readonly seed: number;
}

/** The repository's own, which is there when the store has none. */
const SHIPPED: Stored = { version: 1, seed: 0 };

/** Each so many pushes the adapter is unloaded, and with it what is stored. */
const UNLOADED_EVERY = 6;

/** A repository, a store beside it, and how far the pushes got. */
export class KilledServer {
  readonly #repository: string;
  readonly #store: string;
  readonly #policy = new TinyPolicy({});
  #seed = 0;
  #stored = SHIPPED;
  /** What is there when the step that was under way was done. */
  #next = SHIPPED;

  constructor(folder: string) {
    this.#repository = join(folder, "repository");
    this.#store = join(folder, "store");
    writeTinyRepository(this.#repository, [{ mode: "factored" }]);
  }

  /** Pushes and unloads one after the other until the server is killed, some while after `answered` of them. */
  async round(answered: number, delayMs: number): Promise<void> {
    const child = this.#start();
    try {
      const [line] = (await once(child.stdout!, "data")) as [Buffer];
      await this.#drive(new ServerClient(`${line}`.trim(), { token: TOKEN }), child, answered, delayMs);
    } finally {
      child.kill("SIGKILL");
    }
    await this.#checkRestart();
  }

  #start(): ChildProcess {
    const script = fileURLToPath(new URL("./store-server.ts", import.meta.url));
    const args = ["--import", "tsx", script, this.#repository, this.#store, TOKEN];
    return spawn(process.execPath, args, { stdio: ["pipe", "pipe", "inherit"] });
  }

  async #drive(client: ServerClient, child: ChildProcess, answered: number, delayMs: number): Promise<void> {
    const exited = once(child, "exit");
    // Versions go on rising after an unload, for as long as the server lives.
    let { version } = this.#stored;
    for (let at = 0; ; at++) {
      if (at === answered) setTimeout(() => child.kill("SIGKILL"), delayMs);
      const unloads = at % UNLOADED_EVERY === UNLOADED_EVERY - 1;
      this.#next = unloads ? SHIPPED : { version: ++version, seed: ++this.#seed };
      try {
        if (unloads) await client.unloadAdapter("team", AGENT);
        else assert.equal((await this.#push(client)).version, `${version}`);
      } catch (error) {
        if (error instanceof assert.AssertionError) throw error;
        break;
      }
      this.#stored = this.#next;
    }
    await exited;
    client.close();
  }

  #push(client: ServerClient): Promise<{ readonly version: string }> {
    const { config, tensors } = this.#files(this.#next.seed);
    return client.pushAdapter("team", AGENT, config, tensors);
  }

  /** What was there before the step that was under way, or after it, whole; nothing that was half done. */
  async #checkRestart(): Promise<void> {
    const { repository, adapterStore } = { repository: this.#repository, adapterStore: this.#store };
    const server = await startServer({ repository, adapterStore, token: TOKEN, port: 0 });
    const client = new ServerClient(server.url, { token: TOKEN });
    try {
      const found = (await client.listAdapters("team")).find(({ name }) => name === AGENT);
      const stored = [this.#stored, this.#next].find(({ version }) => `${version}` === found?.version);
      assert.ok(
        stored,
        `version ${found?.version} after ${this.#stored.version} and before ${this.#next.version}`,
      );
      assert.equal(found?.state, "READY");
      assert.equal(found?.sha256, sha256(this.#files(stored.seed).tensors));
      this.#stored = stored;
    } finally {
      client.close();
      await server.close();
    }
    const folder = join(this.#store, "team", AGENT);
    const kept = existsSync(folder) ? readdirSync(folder) : [];
    assert.ok(
      kept.every((name) => /^\d+$/.test(name)),
      `half written: ${kept}`,
    );
    assert.ok(kept.length <= MOST_VERSIONS, `${kept.length} versions are kept: ${kept}`);
  }

  #files(seed: number): { readonly config: string; readonly tensors: Uint8Array } {
    const files = encodeAdapter(this.#policy.adapter(seed));
    return { config: Buffer.from(files[CONFIG_FILE]!).toString(), tensors: files[TENSORS_FILE]! };
  }
}
