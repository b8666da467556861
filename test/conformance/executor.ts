/**
 * What every executor of graphs must do, as tests that take a runtime. Not what one of them does besides: that is in
 * the tests of its own.
 */
import assert from "node:assert/strict";
import { after, test } from "node:test";
import type { Runtime } from "../../src/runtime/session.ts";
import type { Tolerance } from "../helpers/close.ts";
import { testNetworks } from "./executor-networks.ts";
import { testOperators } from "./executor-operators.ts";
import { testResidents } from "./executor-residents.ts";
import { testSessions } from "./executor-sessions.ts";

export interface ExecutorOptions {
  /** Why a test is skipped, by its title without the executor's name. */
  readonly skip?: Readonly<Record<string, string>>;
  /** Why all are. */
  readonly skipAll?: string | false;
  /** Of an operator's float32 results; default 1e-6 + 1e-5 relative. */
  readonly operators?: Tolerance;
  /** Of a whole graph's outputs, as a part of the largest number of each; default 1e-5. */
  readonly networks?: number;
}

/** What the suite's parts register their tests with. */
export interface ExecutorSuite {
  readonly operators: Tolerance;
  readonly networks: number;
  test(title: string, body: (runtime: Runtime) => void): void;
}

/** Registers the tests; the runtime is created by the first of them that runs. */
export function testExecutor(
  name: string,
  create: () => Runtime | Promise<Runtime>,
  options: ExecutorOptions = {},
): void {
  const titles = new Set<string>();
  const { skip = {}, skipAll = false } = options;
  let created: Promise<Runtime> | undefined;
  const suite: ExecutorSuite = {
    operators: options.operators ?? { atol: 1e-6, rtol: 1e-5 },
    networks: options.networks ?? 1e-5,
    test(title, body) {
      assert.ok(!titles.has(title), `two tests are called ${title}`);
      titles.add(title);
      test(`${name}: ${title}`, { skip: skipAll || (skip[title] ?? false) }, async () => {
        created ??= Promise.resolve(create());
        body(await created);
      });
    },
  };
  testOperators(suite);
  testSessions(suite);
  testResidents(suite);
  testNetworks(suite);
  after(() => {
    const unknown = Object.keys(skip).filter((title) => !titles.has(title));
    assert.deepEqual(unknown, [], "the skip list names tests that there are");
  });
}
