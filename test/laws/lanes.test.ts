import { globSync, readFileSync } from 'node:fs';
import { join, matchesGlob } from 'node:path';
import { expect, test } from 'vitest';
import { lanes } from '../../scripts/provision.ts';

const root = join(import.meta.dirname, '../..');
/** Pieces of test/support that start a Redis. */
const starters = /support\/(redis-server|redis-shop|limit-shop|tcp-proxy)\.ts/;

test('every test that starts a Redis is in a lane that is named where there is none', () => {
  const files = lanes.flatMap((lane) => lane.files);
  const outside = globSync('test/**/*.test.ts', { cwd: root })
    .filter((file) => starters.test(readFileSync(join(root, file), 'utf8')))
    .filter((file) => !files.some((pattern) => matchesGlob(file, pattern)));
  expect(outside, 'add them to the lane redis in scripts/provision.ts').toEqual([]);
});
