import type { Command } from 'commander';
import { type GlobalOptions, Session } from './session.ts';

/** Exit statuses, as in sysexits and in Celery. */
export const status = { ok: 0, failed: 1, usage: 2, unavailable: 69 } as const;

/**
 * Makes a command's action from what it does: gives it a session, closes the session whatever happens, and sets the exit
 * status it returns. `body` gets the arguments and the options as commander has them.
 */
export function run<Args extends readonly unknown[]>(
  body: (session: Session, ...args: Args) => Promise<number>,
): (...all: unknown[]) => Promise<void> {
  return async (...all) => {
    const command = all.pop() as Command;
    const session = new Session(command.optsWithGlobals<GlobalOptions>());
    try {
      process.exitCode = await body(session, ...(all as unknown as Args));
    } finally {
      await session.close();
    }
  };
}
