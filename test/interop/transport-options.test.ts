/** Options that both sides must be given alike, so that they find each other's messages. */
import { expect, test } from 'vitest';
import { Pair } from './pair.ts';

test.each([
  ['a prefix of all keys', { global_keyprefix: 'shop:' }, 'shop:py'],
  ['a list for every priority', { priority_steps: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9], sep: '-' }, 'py-7'],
])('%s: the options of kombu have the same meaning', async (_, options, key) => {
  await using pair = await Pair.start({
    settings: { broker_transport_options: options },
    options: { brokerTransportOptions: options },
  });
  const result = await pair.app.sendTask('py.add', [2, 3], { priority: key.endsWith('7') ? 7 : 0 });
  expect(await pair.store.llen(key)).toBe(1);
  const id = await pair.python.send('ts.add', [2, 3], { priority: 7 });
  await Promise.all([pair.typescriptWorker(), pair.pythonWorker()]);
  expect(await result.get({ timeout: 15 })).toBe(5);
  expect(await pair.python.outcome(id)).toMatchObject({ state: 'SUCCESS', value: 5 });
});
