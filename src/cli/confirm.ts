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
  const closed = new Promise<string>((resolve) => terminal.once('close', () => resolve('')));
  try {
    // Ctrl-D closes the terminal without an answer, Ctrl-C fails the question: both mean no.
    const answer = await Promise.race([terminal.question(`${what}. Go on? [y/N] `), closed]).catch(() => '');
    return /^y(es)?$/i.test(answer.trim());
  } finally {
    terminal.close();
  }
}
