import { describe, expect, test } from 'vitest';
import { isRemapped, readSignal, type Situation } from '../../../src/worker/life/signals.ts';

const read = (signal: Parameters<typeof readSignal>[0], situation: Partial<Situation> = {}) =>
  readSignal(signal, { mode: undefined, sinceMs: 60_000, remapped: false, ...situation });

describe('a signal to a worker', () => {
  test('SIGTERM and SIGINT ask for a warm end, SIGQUIT for a soft one', () => {
    expect(read('SIGTERM')).toBe('warm');
    expect(read('SIGINT')).toBe('warm');
    expect(read('SIGQUIT')).toBe('soft');
  });

  test.each(['warm', 'soft', 'cold'] as const)('SIGTERM does not hurry a %s end, remapped or not', (mode) => {
    expect(read('SIGTERM', { mode })).toBeUndefined();
    expect(read('SIGTERM', { mode, remapped: true })).toBeUndefined();
  });

  test('SIGTERM is SIGQUIT where it is remapped', () => {
    expect(read('SIGTERM', { remapped: true })).toBe('soft');
  });

  test('a second SIGINT asks for a soft end, a third for a cold one', () => {
    expect(read('SIGINT', { mode: 'warm' })).toBe('soft');
    expect(read('SIGINT', { mode: 'soft' })).toBe('cold');
  });

  test('what npm or a shell passes on a moment later is no second signal', () => {
    expect(read('SIGINT', { mode: 'warm', sinceMs: 20 })).toBeUndefined();
    expect(read('SIGINT', { mode: 'soft', sinceMs: 20 })).toBeUndefined();
    expect(read('SIGQUIT', { mode: 'soft', sinceMs: 20 })).toBeUndefined();
  });

  test('SIGQUIT right after another signal counts', () => {
    expect(read('SIGQUIT', { mode: 'warm', sinceMs: 1 })).toBe('soft');
    expect(read('SIGQUIT', { mode: 'soft' })).toBe('cold');
  });

  test('REMAP_SIGTERM takes SIGQUIT, and another value is told', () => {
    const warnings: string[] = [];
    const remapped = (value?: string) => isRemapped({ REMAP_SIGTERM: value }, (text) => warnings.push(text));
    expect([remapped('SIGQUIT'), remapped(''), remapped(undefined)]).toEqual([true, false, false]);
    expect(warnings).toEqual([]);
    expect(remapped('sigquit')).toBe(false);
    expect(warnings).toEqual(["REMAP_SIGTERM is ignored: expected SIGQUIT, got 'sigquit'"]);
  });
});
