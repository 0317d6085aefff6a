import type { LovageApp } from '../../app/app.ts';
import { StoreError } from '../../errors.ts';
import { decodeTask, peekTaskId } from '../../wire/protocol.ts';
import { acceptList } from '../../wire/serializers.ts';
import { LeaseKeeper } from '../../worker/leases/lease-keeper.ts';
import { nodeName } from '../../worker/node-name.ts';
import type { Outcome } from '../../worker/outcome.ts';
import { Settler } from '../../worker/settling/settler.ts';
import { type Errand, ErrandConsumer } from './errand.ts';

/**
 * Ends a message without running it, in every step as a worker does: results, links, chords, then the message itself.
 * @throws where the message could not be ended; it is still where it was
 */
export async function settleUnrun(app: LovageApp, errand: Errand, outcome: Outcome, leaseMs: number): Promise<void> {
  const { publisher, results, broker } = await app.connections();
  const { logger } = app;
  const { delivery } = errand;
  const { id } = peekTaskId(delivery.message);
  const message = await decodeTask(delivery.message, { accept: acceptList(app.config.acceptContent) }).catch(
    () => undefined,
  );
  const consumer = new ErrandConsumer(errand, leaseMs);
  const settler = new Settler({
    app,
    consumer,
    publisher,
    results,
    // Nothing is renewed: it takes no time.
    leases: new LeaseKeeper({ broker, leaseMs: undefined, onLost: () => {}, logger }),
    claims: undefined,
    hostname: nodeName('ecs@%h'),
    patienceMs: leaseMs,
    onSettled: () => {},
  });
  const definition = message && app.tasks.get(message.task);
  const held = { delivery, taskId: message?.id ?? id, message, definition, acked: false, receivedAt: Date.now() };
  settler.add([{ held, outcome }]);
  await settler.drained();
  if (settler.failures > 0)
    throw new StoreError(`the message of task ${id} could not be ended; it is still where it was`);
}
