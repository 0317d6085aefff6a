import type { StoreNeeds } from './setup.ts';

/** One thing that was looked at, and what was found. */
export interface Check {
  /** What was looked at, such as `queue celery: visibility timeout`. */
  readonly what: string;
  /**
   * - `ok`: as it should be
   * - `note`: worth knowing, nothing to do
   * - `warning`: it works, but something is lost, slow or dear by it
   * - `problem`: it does not work, or loses messages
   */
  readonly verdict: 'ok' | 'note' | 'warning' | 'problem';
  /** What was found, in a few words. */
  readonly found: string;
  /** What to do about it; for a warning and a problem. */
  readonly advice?: string;
}

/** How often something that is paid for happens. The prices themselves are in a table that users can replace. */
export interface Usage {
  /** Key in the table of prices, such as `sqs.standard`, `dynamodb.write`, `s3.put`. */
  readonly price: string;
  /** For people: what it is, such as `requests to queues`. */
  readonly what: string;
  /** Units for one task, from sending it to its stored result, one at a time; batches make it less. */
  readonly perTask?: number;
  /** Units for one task when the store is busy, and batches are full. Without it: `perTask`. */
  readonly perTaskBusy?: number;
  /** Units beyond that for a task that is parked (eta, countdown, retry). */
  readonly perParkedTask?: number;
  /** Units an hour for one worker that waits for tasks. */
  readonly perIdleWorkerHour?: number;
  /** Units an hour, whatever happens: a server that is paid for by time. */
  readonly perHour?: number;
}

/** What a store says about its own state. */
export interface Diagnosis {
  readonly checks: readonly Check[];
  /** Empty where nothing is paid for by use. */
  readonly usage: readonly Usage[];
}

/** Looks into a store for `lovage doctor`. */
export interface Diagnosable {
  /**
   * Looks at what the store's users will need: reachable, allowed, set up as the application wants it. It needs no
   * started store, opens and closes what it needs, and changes nothing; what is wrong is a check, not an error. It
   * rejects only where the store cannot be looked at at all: not there, no credentials.
   */
  diagnose(needs: StoreNeeds): Promise<Diagnosis>;
}
