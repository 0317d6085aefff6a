import { hostname } from 'node:os';
import { describe, expect, test } from 'vitest';
import { Place } from './lovage.ts';

describe('lovage status', () => {
  test('lists the workers that answer', async () => {
    const place = new Place();
    await place.worker('-n', 'a@%h');
    const [a, b] = [`a@${hostname()}`, `b@${hostname()}`];
    expect(await place.run(['status'])).toEqual({ status: 0, stdout: `${a}: OK\n\n1 node online.\n`, stderr: '' });
    expect(JSON.parse((await place.run(['status', '--json', '-d', a])).stdout)).toEqual({
      online: [a],
      silent: [],
      doubled: [],
    });
    const some = await place.run(['status', '-d', `${a},${b}`]);
    expect(some).toEqual({ status: 1, stdout: `${a}: OK\n${b}: no answer\n\n1 node online.\n`, stderr: '' });
  });

  test('tells of a name that two workers have', async () => {
    const place = new Place();
    await place.worker('-n', 'twin@here');
    await place.worker('-n', 'twin@here');
    expect(await place.run(['status'])).toEqual({
      status: 0,
      stdout: 'twin@here: OK\n\n1 node online.\n',
      stderr: 'More than one worker has the name twin@here: give each a name of its own with -n.\n',
    });
    expect(JSON.parse((await place.run(['status', '--json'])).stdout)).toMatchObject({ doubled: ['twin@here'] });
  });

  test('has status 69 when none answers', async () => {
    const place = new Place();
    const { status, stdout } = await place.run(['status', '-t', '0.2']);
    expect(status).toBe(69);
    expect(stdout).toBe('No node answered within 0.2 s.\n');
    const json = await place.run(['status', '-t', '0.2', '--json']);
    expect(json.status).toBe(69);
    expect(JSON.parse(json.stdout)).toEqual({ online: [], silent: [], doubled: [] });
  });

  test('needs a broker that carries notes', async () => {
    const place = new Place();
    const file = place.write(
      'app.ts',
      `import { Lovage } from 'lovage';
       const broker = { name: 'mute', url: 'mute://', features: {}, start: async () => {}, stop: async () => {} };
       export default new Lovage('mute', { broker: broker as never, backend: false });`,
    );
    const { status, stderr } = await place.run(['status', '-A', file]);
    expect(status).toBe(2);
    expect(stderr).toBe(
      'error NOT_SUPPORTED: the broker mute:// carries no notes between processes, so workers cannot be asked\n',
    );
  });
});
