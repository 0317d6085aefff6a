import type { Recipe } from '../contracts/common.ts';
import type { PackedError } from './packed-error.ts';
import type { Packed } from './packed-value.ts';

/** What a pool says to a child, in arrays. */
export type ToChild =
  /** First of all: make the runner. With more memory than so many KiB after a job, begin nothing more. */
  | { readonly kind: 'open'; readonly recipe: Recipe; readonly maxMemoryKiB: number }
  /** To be run after those before it. */
  | { readonly kind: 'run'; readonly id: string; readonly request: unknown }
  /** Abort the signal of a job; one that has not begun shall not begin. */
  | { readonly kind: 'cancel'; readonly id: string; readonly reason: PackedError }
  /** Begin nothing more, and end when nothing runs. */
  | { readonly kind: 'close' };

/** What a child says about one job. */
export type AboutJob =
  /** From here on, should the child die, the job is lost. */
  | { readonly kind: 'begun'; readonly id: string }
  | { readonly kind: 'ended'; readonly id: string; readonly outcome: Packed }
  /** The job has no outcome of its own. */
  | { readonly kind: 'failed'; readonly id: string; readonly error: PackedError }
  /** It will not begin here: it was cancelled before, or the child is closing. */
  | { readonly kind: 'skipped'; readonly id: string };

/** What a child says to its pool, in arrays. */
export type FromChild =
  | { readonly kind: 'ready' }
  /** It cannot start. */
  | { readonly kind: 'unfit'; readonly error: PackedError }
  | AboutJob
  /** It has grown too large: it begins nothing more. */
  | { readonly kind: 'grown' }
  /** It begins nothing more and will exit by itself. */
  | { readonly kind: 'leaving' }
  | { readonly kind: 'output'; readonly id?: string; readonly stream: 'stdout' | 'stderr'; readonly line: string };
