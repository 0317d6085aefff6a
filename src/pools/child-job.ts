import type { PoolJob } from '../contracts/pool.ts';
import type { PoolChild } from './child.ts';
import type { JobLimits } from './limits.ts';

/** A job of a pool of children, from its submission to its outcome. */
export interface ChildJob<Request> {
  readonly job: PoolJob<Request>;
  /** To which it was sent; `undefined` while it waits. */
  child: PoolChild<Request> | undefined;
  /** Its child has said so. */
  begun: boolean;
  limits: JobLimits | undefined;
  /** It was asked to stop. */
  reason: Error | undefined;
  /** It shall be killed as soon as it begins: killing it before would hit the job in front of it. */
  doomed: boolean;
}
