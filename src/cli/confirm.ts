import { createInterface } from 'node:readline/promises';
import { ConfigError } from '../errors.ts';

/**
 * Asks before something is lost. True with `force`, or for a "y" on the terminal.
 * @throws ConfigError where there is nobody to ask
 */
export async function confirm(what: string, force: boolean | undefined): Promise<boolean> {
  if (force) return true;
  if (!process.stdin.isTTY) throw new ConfigError(`${what}: there is no terminal to ask on; say -f if you mean it`);
  const terminal = createInterface({ input: process.stdin, output: process.stderr });
  try {
    return /^y(es)?$/i.test((await terminal.question(`${what}. Go on? [y/N] `)).trim());
  } finally {
    terminal.close();
  }
}
