import { serialize } from 'node:v8';
import { parentPort } from 'node:worker_threads';
import type { FromChild, ToChild } from './child-messages.ts';
import { dieWithAll } from './lifeline.ts';
import type { TryWrite } from './packed-value.ts';

/** How a child talks with its pool: the same for threads and processes. */
export interface ChildLink {
  /**
   * Sends messages in one piece; throws where one cannot be cloned. `then` is called when they are beyond the reach of
   * whatever kills this child.
   */
  send(messages: readonly FromChild[], then?: () => void): void;
  listen(on: (messages: readonly ToChild[]) => void): void;
  /** Whether a value could be sent: throws where not. */
  readonly tryWrite: TryWrite;
  /** Ends this child. */
  exit(code: number): void;
}

// Tasks get another `process.exit`.
const exit = process.exit.bind(process);

/** The link of this thread or process to the pool that started it. */
export function childLink(): ChildLink {
  return parentPort ? threadLink(parentPort) : processLink();
}

function threadLink(port: NonNullable<typeof parentPort>): ChildLink {
  return {
    send(messages, then) {
      port.postMessage(messages);
      then?.();
    },
    listen: (on) => void port.on('message', on),
    tryWrite: (value) => void structuredClone(value),
    // What was posted is delivered also after the thread's end.
    exit,
  };
}

function processLink(): ChildLink {
  process.once('disconnect', dieWithAll);
  return {
    send(messages, then) {
      process.send?.(messages, undefined, undefined, () => then?.());
    },
    listen: (on) => void process.on('message', (messages: readonly ToChild[]) => on(messages)),
    tryWrite: (value) => void serialize(value),
    exit,
  };
}
