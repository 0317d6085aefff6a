import { expect, test } from 'vitest';
import { Playground } from '../support/in-memory.ts';

test('children in a group of their own, as Celery records several callbacks, are the tasks in it', async () => {
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
  expect((await play.app.result('parent').children).map(({ id }) => id)).toEqual(['one', 'two', 'three']);
});
