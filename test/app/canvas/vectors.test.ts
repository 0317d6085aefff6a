/** The workflows that real Celery's workers ran, run here: the same messages, the same results. */
import { describe, expect, test } from 'vitest';
import { isFinished } from '../../../src/contracts/backend.ts';
import { Worker } from '../../../src/index.ts';
import type { TaskMessage } from '../../../src/wire/task-message.ts';
import { type Json, loadVectors } from '../../unit/wire/vectors.ts';
import { capturedApp, comparable, idsIn, opened, sameIds } from './captured.ts';

interface Captured {
  /** What the worker took, in order. */
  readonly taken: { readonly envelope: string; readonly message: TaskMessage }[];
  /** Those of them that a client had sent. */
  readonly first: string[];
  /** The last that was stored of each task. */
  readonly stored: Map<string, Json>;
}

/** What a worker did, from its commands: `HSET unacked`, `LPUSH <queue>`, `SETEX <result>`. */
async function captured(commands: readonly string[][]): Promise<Captured> {
  const taken: Captured['taken'] = [];
  const stored = new Map<string, Json>();
  const sent = new Set<unknown>();
  for (const [command, key = '', a = '', b = ''] of commands) {
    if (command === 'HSET') {
      const envelope = JSON.stringify(JSON.parse(b)[0]);
      taken.push({ envelope, message: (await opened(envelope)).message });
    } else if (command === 'LPUSH') sent.add(JSON.parse(a).properties.delivery_tag);
    else if (command === 'SETEX' && key.startsWith('celery-task-meta-')) {
      const meta = JSON.parse(b) as Json;
      stored.set(String(meta.task_id), meta);
    }
  }
  const first = taken
    .map(({ envelope }) => envelope)
    .filter((envelope) => !sent.has(JSON.parse(envelope).properties.delivery_tag));
  return { taken, first, stored };
}

/** Captures of no workflow: tests of their own have them, or those of the worker's life. */
const others = ['noresult', 'rejected', 'retry', 'startup_shutdown', 'unregistered'];
const vectors = loadVectors('worker_').filter(({ name }) => !others.includes(name.slice('worker_'.length)));

/** Built-in tasks have no hooks, so that what they get is seen in their results only. */
const isBuiltin = ({ task }: TaskMessage) => task.startsWith('celery.');

describe('a workflow that a worker of Celery has run', () => {
  test('is here for both versions', () => {
    const names = Map.groupBy(vectors, ({ name }) => name);
    expect(names.size).toBeGreaterThanOrEqual(16);
    expect([...names].filter(([, versions]) => versions.length !== 2)).toEqual([]);
  });

  test.each(vectors)('$label is run with the same messages and the same results', async ({ label, raw }) => {
    const { taken, first, stored } = await captured(raw as string[][]);
    const { app, taken: ours, told } = capturedApp(`memory://${label}`);
    const known = idsIn(first.join() + first.map((one) => Buffer.from(JSON.parse(one).body, 'base64')).join());
    try {
      const { broker, results } = await app.connections();
      const members = taken.map(({ message }) => message).filter(({ chord, groupId }) => chord && groupId);
      for (const [id, those] of Map.groupBy(members, ({ groupId }) => groupId ?? ''))
        if (known.has(id)) await results.backend?.joins?.setSize(id, those.length);
      const messages = await Promise.all(first.map(async (one) => (await opened(one)).wire));
      await broker.publishMany(messages.map((message) => ({ queue: 'celery', message })));
      const worker = new Worker(app);
      await worker.start();
      const expected = taken.map(({ message }) => message).filter((one) => !isBuiltin(one));
      await expect.poll(() => ours.length, { timeout: 5000 }).toBe(expected.length);
      const finals = [...stored.keys()].filter((id) => known.has(id));
      const ended = () => results.required().fetchMany(finals);
      await expect.poll(async () => (await ended()).every((one) => one && isFinished(one.state))).toBe(true);
      await worker.stop();
      const byTask = (all: readonly TaskMessage[]) =>
        all
          .map(comparable)
          .toSorted((a, b) => JSON.stringify([a.task, a.args]).localeCompare(JSON.stringify([b.task, b.args])));
      expect(sameIds(byTask(ours), known)).toEqual(sameIds(byTask(expected), known));
      for (const [id, meta] of stored) {
        if (!known.has(id)) continue;
        const found = await results.fetch(id);
        expect([id, found?.state, found?.result]).toEqual([id, meta.status, resultOf(meta, found?.result)]);
        // There the body of a replacing group follows its last member, here what it has replaced.
        if (!label.includes('replace_group')) expect(found?.parentId).toBe(meta.parent_id);
        const tasks = new Set(finals);
        expect(sameIds([{ c: found?.children }], tasks)).toEqual(sameIds([{ c: meta.children }], tasks));
      }
      expect(told.length > 0).toBe(label.includes('link_error_new') || label.includes('chord_failure'));
    } finally {
      await app.close();
    }
  });
});

/** An error is one of JavaScript here; what a task returns of new ids cannot be the same. */
function resultOf({ result, status }: Json, ours: unknown): unknown {
  if (status === 'SUCCESS') return idsIn(JSON.stringify(result)).size > 0 ? ours : result;
  return { ...(result as Json), exc_module: (ours as Json).exc_module };
}
