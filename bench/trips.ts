import { subscribe } from 'node:diagnostics_channel';

/**
 * Counts from now on the round trips to Redis of this thread: commands that leave in the same turn of the event loop, as
 * those of a pipeline do, wait for their answers together. Returns a function that tells how many there were.
 */
export function countTrips(): () => number {
  let trips = 0;
  let leaving = false;
  subscribe('tracing:ioredis:command:start', () => {
    if (leaving) return;
    leaving = true;
    trips += 1;
    setImmediate(() => {
      leaving = false;
    });
  });
  return () => trips;
}
