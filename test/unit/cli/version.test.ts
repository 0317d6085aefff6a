import { expect, test } from 'vitest';
import { nodeTooOld } from '../../../src/cli/version.ts';

test.each([
  ['20.20.2', true],
  ['22.17.9', true],
  ['22.18.0', false],
  ['24.0.0', false],
])('Node %s is too old: %s', (node, expected) => {
  expect(nodeTooOld(node) !== undefined).toBe(expected);
});
