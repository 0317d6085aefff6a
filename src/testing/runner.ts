/** What a suite needs of a test runner. Vitest's and `node:test`'s functions fit. */
export interface TestRunner {
  describe(name: string, body: () => void): unknown;
  test(name: string, body: (context: unknown) => Promise<void>): unknown;
}

/** Something that must hold for every driver, named as a user would say it. */
export interface Law<World> {
  readonly name: string;
  /** Whether the driver says that it can do this at all. */
  readonly needs?: (world: World) => boolean;
  readonly check: (world: World) => Promise<void>;
}

/** Tests each law in a world of its own. A law that the driver's features exclude is reported as skipped where the runner can. */
export function testLaws<World extends { close(): Promise<void> }>(
  runner: TestRunner,
  laws: readonly Law<World>[],
  makeWorld: () => Promise<World>,
): void {
  for (const law of laws) {
    runner.test(law.name, async (context) => {
      const world = await makeWorld();
      try {
        if (law.needs && !law.needs(world)) skip(context);
        else await law.check(world);
      } finally {
        await world.close();
      }
    });
  }
}

function skip(context: unknown): void {
  // Vitest's context is a function, that of `node:test` an object.
  const { skip: skipTest } = Object(context);
  if (typeof skipTest === 'function') skipTest.call(context, 'its features say that it cannot');
}
