import type { TaskCounts } from './backlog.ts';

/** A service whose tasks follow a backlog: on ECS, on Heroku, or wherever a script of yours can count and scale. */
export interface ScalingTarget {
  /** For people, such as `ecs service work/mailer`. */
  readonly name: string;
  /** One attempt; rejects where it cannot be known. */
  counts(signal: AbortSignal): Promise<TaskCounts>;
  /** Has the service run so many tasks. */
  setDesired(count: number, signal: AbortSignal): Promise<void>;
  close(): Promise<void>;
}

/** What hears of each reading: a metric that is published, a scaler, an endpoint. */
export interface BacklogSink<Reading> {
  /** For people. */
  readonly name: string;
  take(reading: Reading, signal: AbortSignal): Promise<void>;
  close(): Promise<void>;
}
