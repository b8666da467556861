/**
 * What every environment must do, as tests that take a factory. Not what one task rewards or shows: that is in the
 * tests of its own.
 */
import assert from "node:assert/strict";
import { after, test } from "node:test";
import type { Env } from "../../src/envs/contract.ts";
import { testActions } from "./envs-actions.ts";
import { testBuffers } from "./envs-buffers.ts";
import { testEpisodes } from "./envs-episodes.ts";
import { testSaving } from "./envs-saving.ts";

export interface EnvironmentOptions {
  /** Why a test is skipped, by its title without the environment's name. */
  readonly skip?: Readonly<Record<string, string>>;
}

/** What the suite's parts register their tests with: `make` gives environments that are closed after the test. */
export interface EnvironmentSuite {
  test(title: string, body: (make: () => Promise<Env>) => Promise<void>): void;
}

/**
 * Registers the tests.
 * @param create gives a new environment each time, of one task, with short episodes where it has that option.
 */
export function testEnvironment(
  name: string,
  create: () => Promise<Env>,
  { skip = {} }: EnvironmentOptions = {},
): void {
  const titles = new Set<string>();
  const suite: EnvironmentSuite = {
    test(title, body) {
      assert.ok(!titles.has(title), `two tests are called ${title}`);
      titles.add(title);
      test(`${name}: ${title}`, { skip: skip[title] ?? false }, async () => {
        const made: Env[] = [];
        try {
          await body(async () => {
            made.push(await create());
            return made.at(-1)!;
          });
        } finally {
          for (const env of made) env.close();
        }
      });
    },
  };
  testBuffers(suite);
  testEpisodes(suite);
  testActions(suite);
  testSaving(suite);
  after(() => {
    const unknown = Object.keys(skip).filter((title) => !titles.has(title));
    assert.deepEqual(unknown, [], "the skip list names tests that there are");
  });
}
