/**
 * What the client of real Celery sends for a workflow whose messages have a group, a chord or a chain in them, and what ours
 * sends for the same. The others are compared in every field, in client-envelopes.test.ts.
 */
import { describe, expect, test } from 'vitest';
import { type Canvas, chain, chord, group, type Signature } from '../../../src/index.ts';
import { decodeTask } from '../../../src/wire/protocol.ts';
import { acceptList } from '../../../src/wire/serializers.ts';
import type { TaskMessage } from '../../../src/wire/task-message.ts';
import { type Json, loadVectors } from '../../unit/wire/vectors.ts';
import { capturedApp, comparable, opened, sameIds } from './captured.ts';

// biome-ignore lint/suspicious/noExplicitAny: signatures by name have no types.
type Loose = any;
type Make = (name: string, ...args: unknown[]) => Signature<Loose, Loose>;
const steps = chain as Loose as (...all: unknown[]) => Canvas;
const join = chord as Loose as (header: unknown[], body: unknown) => Canvas;
const all = group as Loose as (members: unknown[]) => Canvas;

/** The workflows of the captures, by their names (see test/vectors/README.md). */
const made: Record<string, (s: Make) => Canvas> = {
  task_chain_group_end: (s) => steps(s('add', 1, 2), all([s('mul', 2), s('mul', 3)])),
  task_chain_group_middle: (s) => steps(s('add', 1, 2), all([s('mul', 2), s('mul', 3)]), s('xsum')),
  task_chord_body_chain: (s) => join([s('add', 1, 1), s('add', 2, 2)], steps(s('xsum'), s('mul', 10))),
  task_chord_body_group: (s) => join([s('add', 1, 1), s('add', 2, 2)], all([s('xsum'), s('xsum')])),
  task_chord_nested_chord: (s) => join([join([s('add', 1, 1), s('add', 2, 2)], s('xsum')), s('add', 3, 3)], s('xsum')),
};

const vectors = loadVectors('task_').filter(({ name }) => name in made);

/** Since 5.3 a group that is a body has the id of its header; here, as before, one of its own. */
const ownGroup = 'celery56/task_chord_body_group';

async function sentByCelery(decoded: unknown): Promise<TaskMessage[]> {
  const envelopes = Object.values(decoded as Record<string, { envelope: Json }[]>).flat();
  const messages = await Promise.all(envelopes.map(({ envelope }) => opened(JSON.stringify(envelope))));
  return messages.map(({ message }) => message);
}

async function sentHere(label: string, make: (s: Make) => Canvas): Promise<TaskMessage[]> {
  const { app } = capturedApp(`memory://client-${label}`);
  try {
    await make((name, ...args) => app.signature(`cap.${name}`, args) as Loose).applyAsync([] as never);
    const consumer = await (await app.broker()).consume(['celery']);
    const deliveries = await consumer.receive(10, 100, new AbortController().signal);
    const accept = acceptList(['json']);
    return await Promise.all(deliveries.map(({ message }) => decodeTask(message, { accept })));
  } finally {
    await app.close();
  }
}

describe('what is sent for a workflow', () => {
  test('there are as many as were captured', () => {
    expect(vectors).toHaveLength(2 * Object.keys(made).length);
  });

  test.each(vectors.filter(({ label }) => label !== ownGroup))(
    '$label is what Celery sends',
    async ({ label, name, decoded }) => {
      const shown = (messages: readonly TaskMessage[]) => {
        const inOrder = messages
          .map(comparable)
          .toSorted((a, b) => JSON.stringify([a.task, a.args]).localeCompare(JSON.stringify([b.task, b.args])));
        return sameIds(inOrder, new Set());
      };
      const make = made[name];
      if (!make) throw new Error(name);
      expect(shown(await sentHere(label, make))).toEqual(shown(await sentByCelery(decoded)));
    },
  );
});
