import { expect, test } from 'vitest';
import { clockCheck, ServiceClock } from '../../../src/stores/aws/clock.ts';

/** A clock that heard of a service whose clock is `skewMs` ahead of ours, in answers that took `tookMs`. */
function heard(skewMs: number, tookMs = 20, answers = 20): ServiceClock {
  const clock = new ServiceClock();
  const start = Date.now() - 60_000;
  for (let i = 0; i < answers; i++) {
    const sentAt = start + i * 777;
    clock.learn(new Date(sentAt + tookMs / 2 + skewMs).toUTCString(), sentAt, sentAt + tookMs);
  }
  return clock;
}

test('our own clock is believed where it agrees with the service, and before it was heard of', () => {
  for (const clock of [new ServiceClock(), heard(0), heard(0, 3000)]) {
    expect(Math.abs(clock.now() - Date.now())).toBeLessThan(5);
    expect(clockCheck(clock).verdict).toBe('ok');
  }
});

test.each([-3_600_000, -5000, 5000, 3_600_000])('a clock that is wrong by %d ms is set right to a second', (skewMs) => {
  const clock = heard(skewMs);
  expect(Math.abs(clock.now() - Date.now() - skewMs)).toBeLessThan(1000);
  expect(clockCheck(clock).verdict).not.toBe('ok');
});

test('when our clock is set while we run, the last answer counts', () => {
  const clock = heard(3_600_000);
  const now = Date.now();
  clock.learn(new Date(now).toUTCString(), now - 5, now + 5);
  expect(Math.abs(clock.now() - Date.now())).toBeLessThan(1000);
});

test('an answer without a date teaches nothing', () => {
  const clock = new ServiceClock();
  clock.learn(undefined, 0, 1);
  clock.learn('yesterday', 0, 1);
  expect(Math.abs(clock.now() - Date.now())).toBeLessThan(5);
});
