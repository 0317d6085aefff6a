import { expect, test } from 'vitest';
import { GroupResult } from '../../src/index.ts';
import { Playground } from '../support/in-memory.ts';

test('children are tasks and groups, as Celery records them for several callbacks and for chords', async () => {
  await using play = new Playground();
  const children = [
    [['one', null], null],
    [
      ['a group', null],
      [
        [['two', null], null],
        [['three', ['one', null]], null],
      ],
    ],
    'garbage',
    [[5]],
  ];
  await (await play.app.results()).store({ taskId: 'parent', state: 'SUCCESS', result: 1, children });
  const [one, group, ...others] = await play.app.result('parent').children;
  expect([one?.id, group?.id, others]).toEqual(['one', 'a group', []]);
  expect(group).toBeInstanceOf(GroupResult);
  expect((await group?.children)?.map(({ id }) => id)).toEqual(['two', 'three']);
  expect((await group?.children)?.[1]?.parent?.id).toBe('one');
});
