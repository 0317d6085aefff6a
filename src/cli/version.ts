import { readFileSync } from 'node:fs';

/** What to say to a Node that cannot run this; `undefined` for one that can. */
export function nodeTooOld(node: string): string | undefined {
  const [major = 0, minor = 0] = node.split('.').map(Number);
  if (major > 22 || (major === 22 && minor >= 18)) return undefined;
  return `Lovage needs Node 22.18 or later, this is ${node}. Get a newer one from https://nodejs.org`;
}

/** The version of this package. */
export const version: string = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')).version;
