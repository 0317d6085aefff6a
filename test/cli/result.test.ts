import { describe, expect, test } from 'vitest';
import { Place } from './lovage.ts';

const call = async (place: Place, ...args: string[]) =>
  JSON.parse((await place.run(['call', '--json', ...args])).stdout).id as string;

describe('lovage result', () => {
  test('prints state and result, or what went wrong', async () => {
    const place = new Place();
    await place.worker();
    const good = await call(place, 'shop.add', '-a', '[2, 3]');
    expect(await place.run(['result', good, '--wait', '--timeout', '15'])).toEqual({
      status: 0,
      stdout: 'SUCCESS\n5\n',
      stderr: '',
    });
    expect((await place.run(['result', good])).stdout).toBe('SUCCESS\n5\n');
    expect(JSON.parse((await place.run(['result', good, '--json'])).stdout)).toEqual({
      id: good,
      state: 'SUCCESS',
      result: 5,
    });

    const bad = await call(place, 'shop.fail', '-a', '["soap"]', '--wait');
    const failure = await place.run(['result', bad]);
    expect(failure).toEqual({ status: 1, stdout: 'FAILURE\nRangeError: no soap left\n', stderr: '' });
    expect((await place.run(['result', bad, '--traceback'])).stdout).toMatch(
      /no soap left\n {4}at .*fixtures\/app\.ts/,
    );
  });

  test('PENDING is no failure, but says what it may mean', async () => {
    const place = new Place();
    const { status, stdout, stderr } = await place.run(['result', 'no-such-id']);
    expect({ status, stdout }).toEqual({ status: 0, stdout: 'PENDING\n' });
    expect(stderr).toContain('nothing is stored under this id');
    expect(await place.run(['result', 'no-such-id', '--quiet'])).toEqual({
      status: 0,
      stdout: 'PENDING\n',
      stderr: '',
    });
  });
});
