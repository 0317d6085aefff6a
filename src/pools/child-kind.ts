import type { PoolFeatures } from '../contracts/pool.ts';
import { sibling } from '../util/sibling.ts';
import type { FromChild, ToChild } from './child-messages.ts';
import type { TryWrite } from './packed-value.ts';

/** How a child ended. */
export interface ChildEnd {
  readonly exitCode: number | null;
  readonly signal: string | null;
  /** What ended it, where that is known. */
  readonly error?: Error | undefined;
}

/** What a pool hears of a child. */
export interface ChildEvents {
  onMessages(messages: readonly FromChild[]): void;
  /** What was printed past the child's own code: by native code, or straight to a file descriptor. */
  onRaw(stream: 'stdout' | 'stderr', chunk: Uint8Array): void;
  /** Once, after everything else. */
  onEnd(end: ChildEnd): void;
}

/** A child that has been started. */
export interface ChildHandle {
  /** What it is called in messages, such as `process 1234`. */
  readonly title: string;
  /** Throws where a message cannot be cloned. */
  post(messages: readonly ToChild[]): void;
  /** Ends it at once, whatever it does. */
  kill(): void;
}

/** What is different between threads and processes. */
export interface ChildKind {
  readonly name: string;
  readonly features: PoolFeatures;
  readonly tryWrite: TryWrite;
  start(events: ChildEvents): ChildHandle;
}

/** The file that a child runs. */
export const childFile = sibling(import.meta.url, 'child-main');
