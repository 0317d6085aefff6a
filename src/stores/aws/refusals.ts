import type { Check } from '../../contracts/diagnosis.ts';
import { StoreAccessError } from '../../errors.ts';

/**
 * For `lovage doctor`: makes requests that cannot change anything, and tells which of them are not allowed. What else comes of
 * them tells nothing.
 */
export async function permissionChecks(
  what: string,
  tries: Readonly<Record<string, () => Promise<unknown>>>,
): Promise<Check[]> {
  const refused: string[] = [];
  for (const attempt of Object.values(tries)) {
    await attempt().catch((error) => {
      if (error instanceof StoreAccessError) refused.push(error.message);
    });
  }
  const about = `${what}: permissions`;
  if (refused.length > 0) return refused.map((found) => ({ what: about, verdict: 'problem', found }));
  return [{ what: about, verdict: 'ok', found: `${Object.keys(tries).join(', ')}: not refused` }];
}
