import { describe, expect, test } from 'vitest';
import {
  ConfigError,
  currentTask,
  Ignore,
  NotSupportedError,
  Reject,
  TaskBase,
  type TaskHooks,
} from '../../src/index.ts';
import { Playground, quiet } from '../support/in-memory.ts';
import { until } from '../support/workplace.ts';

/** Hooks that write down, under a label, that they ran. */
function noting(notes: string[], label: string): TaskHooks {
  return {
    before: () => void notes.push(`${label} before`),
    onSuccess: (_self, value) => void notes.push(`${label} onSuccess ${value}`),
    onFailure: (_self, error) => void notes.push(`${label} onFailure ${error}`),
    onRetry: (_self, error, dueAt) => void notes.push(`${label} onRetry ${error} ${dueAt instanceof Date}`),
    after: (_self, end) => void notes.push(`${label} after ${end.state}`),
  };
}

/** What is logged as an error. */
function errorLog() {
  const errors: { fields: Record<string, unknown>; text: string }[] = [];
  const logger = {
    ...quiet,
    error: (fields: object, text: string) => void errors.push({ fields: { ...fields }, text }),
  };
  return { errors, logger };
}

describe('hooks', () => {
  test('run from the application inwards before the body, and outwards after it', async () => {
    await using play = new Playground();
    const notes: string[] = [];
    play.app.use(noting(notes, 'app'));
    const outer = play.app.defineTask(noting(notes, 'outer'));
    const inner = outer.defineTask(noting(notes, 'inner'));
    const task = inner('tasks.one', noting(notes, 'own'), () => {
      notes.push('body');
      return 7;
    });
    play.app.use(noting(notes, 'app2'));
    await play.work();
    expect(await (await task.delay()).get({ timeout: 5 })).toBe(7);
    const layers = ['app', 'app2', 'outer', 'inner', 'own'];
    expect(notes).toEqual([
      ...layers.map((label) => `${label} before`),
      'body',
      ...layers.toReversed().flatMap((label) => [`${label} onSuccess 7`, `${label} after SUCCESS`]),
    ]);
  });

  test.each([
    ['FAILURE', new Error('no'), ['onFailure Error: no', 'after FAILURE']],
    ['IGNORED', new Ignore('no need'), ['after IGNORED']],
    ['REJECTED', new Reject('not me'), ['after REJECTED']],
  ])('at the end of a run that is %s', async (_state, thrown, expected) => {
    await using play = new Playground();
    const notes: string[] = [];
    const task = play.app.task('tasks.bad', noting(notes, ''), () => {
      throw thrown;
    });
    await play.work();
    await task.delay();
    await until(() => notes.length > expected.length);
    expect(notes.map((note) => note.trim())).toEqual(['before', ...expected]);
  });

  test('onRetry hears of every retry, onFailure only of the last', async () => {
    await using play = new Playground();
    const notes: string[] = [];
    const options = { autoretryFor: [Error], maxRetries: 1, defaultRetryDelay: 0, ...noting(notes, '') };
    const task = play.app.task('tasks.flaky', options, () => {
      throw new Error('again');
    });
    await play.work();
    await expect((await task.delay()).get({ timeout: 5 })).rejects.toThrow('again');
    expect(notes.map((note) => note.trim())).toEqual([
      ...['before', 'onRetry Error: again true', 'after RETRY'],
      ...['before', 'onFailure Error: again', 'after FAILURE'],
    ]);
  });

  test('are told of a snooze as such: it is no retry', async () => {
    await using play = new Playground();
    const notes: string[] = [];
    const task = play.app.task('tasks.sleepy', { bind: true, ...noting(notes, '') }, (self) => {
      if (notes.length === 1) throw self.snooze(0);
      return self.request.retries;
    });
    await play.work();
    expect(await (await task.delay()).get({ timeout: 5 })).toBe(0);
    expect(notes.map((note) => note.trim())).toEqual([
      ...['before', 'after SNOOZED'],
      ...['before', 'onSuccess 0', 'after SUCCESS'],
    ]);
  });

  test('have finished when the result is there, also asynchronous ones', async () => {
    await using play = new Playground();
    let done = false;
    const task = play.app.task(
      'tasks.one',
      {
        async onSuccess() {
          await new Promise((resolve) => setTimeout(resolve, 20));
          done = true;
        },
      },
      () => 1,
    );
    await play.work();
    await (await task.delay()).get({ timeout: 5 });
    expect(done).toBe(true);
  });

  test('have the context of the run: request, logger, signal, currentTask(), and the tasks they send are its children', async () => {
    await using play = new Playground();
    const seen: unknown[] = [];
    const add = play.app.task('tasks.add', (x: number, y: number) => x + y);
    const task = play.app.task(
      'tasks.one',
      {
        async onSuccess(self) {
          seen.push(self.request.args, self.signal.aborted, typeof self.logger.info, currentTask() === self);
          seen.push((await add.delay(1, 1)).id);
        },
      },
      (_n: number) => null,
    );
    await play.work();
    const result = await task.delay(5);
    await result.get({ timeout: 5 });
    expect(seen.slice(0, 4)).toEqual([[5], false, 'function', true]);
    expect((await result.children).map((child) => child.id)).toEqual([seen[4]]);
  });

  test('what before throws is the failure of the task, is retried like one, and every layer hears of it', async () => {
    await using play = new Playground();
    const notes: string[] = [];
    let failures = 1;
    const maker = play.app.defineTask(noting(notes, 'outer'));
    const task = maker(
      'tasks.guarded',
      {
        autoretryFor: [TypeError],
        defaultRetryDelay: 0,
        ...noting(notes, 'own'),
        before: () => {
          if (failures-- > 0) throw new TypeError('not now');
          throw new Error('never');
        },
      },
      () => void notes.push('body'),
    );
    await play.work();
    await expect((await task.delay()).get({ timeout: 5 })).rejects.toThrow('never');
    expect(notes).toEqual([
      ...['outer before', 'own onRetry TypeError: not now true', 'own after RETRY'],
      ...['outer onRetry TypeError: not now true', 'outer after RETRY'],
      ...['outer before', 'own onFailure Error: never', 'own after FAILURE'],
      ...['outer onFailure Error: never', 'outer after FAILURE'],
    ]);
  });

  test('what the others throw is logged, and neither changes the outcome nor keeps other hooks from running', async () => {
    const { errors, logger } = errorLog();
    await using play = new Playground({ logger });
    const notes: string[] = [];
    const broken = () => {
      throw new Error('broken hook');
    };
    const task = play.app.defineTask({ after: () => void notes.push('outer after') })(
      'tasks.one',
      { onSuccess: broken, after: async () => broken() },
      () => 3,
    );
    await play.work();
    expect(await (await task.delay()).get({ timeout: 5 })).toBe(3);
    expect(notes).toEqual(['outer after']);
    expect(errors.map(({ fields }) => fields.hook)).toEqual(['onSuccess', 'after']);
    expect(errors[0]?.fields).toMatchObject({ task: 'tasks.one', error: new Error('broken hook') });
  });

  test('that throw cost nothing even where the logger throws too', async () => {
    const broken = () => {
      throw new Error('broken');
    };
    await using play = new Playground({ logger: { ...quiet, error: broken } });
    const task = play.app.task('tasks.one', { after: broken }, () => 3);
    await play.work();
    expect(await (await task.delay()).get({ timeout: 5 })).toBe(3);
  });

  test('a value that cannot be written is a failure for them too', async () => {
    await using play = new Playground();
    const notes: string[] = [];
    const task = play.app.task('tasks.odd', noting(notes, ''), () => () => 1);
    await play.work();
    await expect((await task.delay()).get({ timeout: 5 })).rejects.toThrow();
    expect(notes.map((note) => note.trim())).toEqual(['before', expect.stringMatching(/^onFailure/), 'after FAILURE']);
  });

  test('arguments that do not fit are a failure after before', async () => {
    await using play = new Playground();
    const notes: string[] = [];
    play.app.task('tasks.two', { params: ['x', 'y'], ...noting(notes, '') }, (x: number, y: number) => x + y);
    await play.work();
    await expect((await play.app.sendTask('tasks.two', [1])).get({ timeout: 5 })).rejects.toThrow();
    expect(notes[0]).toBe(' before');
    expect(notes[2]).toBe(' after FAILURE');
  });

  test('a run that a stopping worker gives back ends as RELEASED', async () => {
    await using play = new Playground({}, { shutdownTimeout: 0 });
    const notes: string[] = [];
    const task = play.app.task('tasks.long', { bind: true, ...noting(notes, '') }, async (self) => {
      notes.push('body');
      await new Promise((_, reject) => self.signal.addEventListener('abort', () => reject(self.signal.reason)));
    });
    const worker = await play.work();
    await task.delay();
    await until(() => notes.includes('body'));
    await worker.stop();
    expect(notes.at(-1)).toBe(' after RELEASED');
  });

  test('do not run when a task is called as a function', async () => {
    await using play = new Playground();
    const notes: string[] = [];
    const task = play.app.task('tasks.one', noting(notes, ''), () => 1);
    expect([task(), notes]).toEqual([1, []]);
  });
});

describe('app.defineTask', () => {
  test('gives its tasks options; nearer ones win', async () => {
    await using play = new Playground();
    const define = play.app.defineTask({ queue: 'mail', priority: 3, maxRetries: 7 });
    const urgent = define.defineTask({ priority: 0 });
    const task = urgent('mail.send', { maxRetries: 1 }, (to: string) => to);
    expect(task.options).toMatchObject({ queue: 'mail', priority: 0, maxRetries: 1 });
    await task.delay('ada');
    expect((await (await play.app.broker()).countMany(['mail']))[0]?.ready).toBe(1);
  });

  test('of bound tasks, binds them', async () => {
    await using play = new Playground();
    const task = play.app.defineTask({ bind: true })('tasks.who', (self, n: number) => [self.request.task, n]);
    await play.work();
    expect(await (await task.delay(4)).get({ timeout: 5 })).toEqual(['tasks.who', 4]);
  });

  test('refuses what it does not know, and what belongs to one task', () => {
    const { app } = new Playground();
    expect(() => app.defineTask({ onFailur: () => {} } as object)).toThrow(
      /no option 'onFailur'; did you mean 'onFailure'/,
    );
    expect(() => app.defineTask({ params: ['x'] } as object)).toThrow(NotSupportedError);
    expect(() => app.defineTask({ onFailure: 'log' } as object)).toThrow(/expected a function, got "log"/);
    expect(() => app.use({ onRetry: 3 } as object)).toThrow(/option 'onRetry' of app.use: expected a function, got 3/);
    expect(() => app.task('x', { retryKwargs: { max_retries: 3 } as object }, () => 1)).toThrow(
      /did you mean 'maxRetries'/,
    );
  });
});

describe('a task class', () => {
  test('has one instance for each task in a process, whose request is that of the run', async () => {
    await using play = new Playground({}, { concurrency: 10 });
    let made = 0;
    class Counting extends TaskBase {
      readonly number = ++made;
      runs = 0;
    }
    const define = play.app.defineTask({ bind: true, base: Counting });
    const one = define('tasks.one', async (self, tag: string) => {
      self.runs += 1;
      await new Promise((resolve) => setTimeout(resolve, 5));
      return [self.name, self.request.args[0] === tag, self instanceof Counting];
    });
    const two = define('tasks.two', (self) => self.number);
    await play.work();
    const results = await one.applyMany([['a'], ['b'], ['c']]);
    expect(await Promise.all(results.map((result) => result.get({ timeout: 5 })))).toEqual(
      Array.from({ length: 3 }, () => ['tasks.one', true, true]),
    );
    expect(await (await two.delay()).get({ timeout: 5 })).toBe(2);
    expect(made).toBe(2);
  });

  test('has the hooks of Celery, with its options and those of the class it extends', async () => {
    await using play = new Playground();
    const notes: unknown[] = [];
    class Base extends TaskBase {
      static readonly options = { autoretryFor: [Error], maxRetries: 5, defaultRetryDelay: 0 };
      override onRetry(error: unknown, taskId: string) {
        notes.push(['onRetry', `${error}`, taskId === this.request.id]);
      }
    }
    class Child extends Base {
      static override readonly options = { ...Base.options, maxRetries: 1 };
      override beforeStart(_id: string, args: readonly unknown[], kwargs: object) {
        notes.push(['beforeStart', args, kwargs]);
      }
      override onSuccess(value: unknown) {
        notes.push(['onSuccess', value]);
      }
      override onFailure(error: unknown) {
        notes.push(['onFailure', `${error}`]);
      }
      override afterReturn(state: string, value: unknown) {
        notes.push(['afterReturn', state, `${value}`]);
      }
    }
    const task = play.app.task('tasks.maybe', { base: Child }, (fail: boolean) => {
      if (fail) throw new Error('no');
      return 1;
    });
    await play.work();
    await (await task.delay(false)).get({ timeout: 5 });
    expect(notes.splice(0)).toEqual([
      ['beforeStart', [false], {}],
      ['onSuccess', 1],
      ['afterReturn', 'SUCCESS', '1'],
    ]);
    await expect((await task.delay(true)).get({ timeout: 5 })).rejects.toThrow('no');
    expect(notes).toEqual([
      ['beforeStart', [true], {}],
      ['onRetry', 'Error: no', true],
      ['beforeStart', [true], {}],
      ['onFailure', 'Error: no'],
      ['afterReturn', 'FAILURE', 'Error: no'],
    ]);
  });

  test('without hooks of its own leaves the task as quick as it was', async () => {
    await using play = new Playground();
    class Plain extends TaskBase {}
    play.app.task('tasks.plain', { base: Plain }, () => 1);
    expect(play.app.tasks.get('tasks.plain')?.hooks).toEqual([]);
  });

  test('is disposed of when its worker stops, and made anew by the next', async () => {
    await using play = new Playground();
    const notes: string[] = [];
    class Connected extends TaskBase implements AsyncDisposable {
      constructor() {
        super();
        notes.push('made');
      }
      async [Symbol.asyncDispose]() {
        notes.push('disposed');
      }
    }
    const task = play.app.task('tasks.one', { bind: true, base: Connected }, () => 1);
    for (let i = 0; i < 2; i += 1) {
      const worker = await play.work();
      await (await task.delay()).get({ timeout: 5 });
      await worker.stop();
    }
    expect(notes).toEqual(['made', 'disposed', 'made', 'disposed']);
  });

  test('serves a task that is called as a function', async () => {
    await using play = new Playground();
    class Named extends TaskBase {}
    const task = play.app.task('tasks.one', { bind: true, base: Named }, (self) => [self.name, self.request.task]);
    expect(task()).toEqual(['tasks.one', 'tasks.one']);
    expect(() => new Named().request).toThrow(ConfigError);
  });

  test('must extend TaskBase, and its options must be options', () => {
    const { app } = new Playground();
    class Wrong extends TaskBase {
      static readonly options = { maxRetrys: 3 };
    }
    class Hooked extends TaskBase {
      static readonly options = { onFailure: () => {} };
    }
    expect(() => app.task('x', { base: class {} as typeof TaskBase }, () => 1)).toThrow(
      /a class that extends TaskBase/,
    );
    expect(() => app.task('x', { base: Wrong }, () => 1)).toThrow(/the class Wrong has no option 'maxRetrys'/);
    expect(() => app.task('x', { base: Hooked }, () => 1)).toThrow(/a class has methods for it/);
  });
});
