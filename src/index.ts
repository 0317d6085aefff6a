/** The front door of Lovage. */
import { LovageApp } from './app/app.ts';
import type { LovageOptions } from './app/config.ts';
import { drivers } from './drivers.ts';
import { runEagerly } from './worker/eager/eager.ts';

/** An application: `new Lovage('shop', { broker: 'sqlite:///var/lib/shop.db' })`. */
export class Lovage extends LovageApp {
  constructor(name: string, options: LovageOptions = {}) {
    super(name, options, drivers, runEagerly);
  }
}

// Configuration.
export { type Config, fromCelerySettings, type LovageOptions, type RetryPolicy, type Route } from './app/config.ts';
export { type Logger, type LogLevel, streamLogger } from './app/logger.ts';
// What lives as long as a worker.
export type { Resource, ResourceOptions } from './app/resource.ts';
export { GroupResult } from './app/results/group-result.ts';
// Results.
export { AsyncResult } from './app/results/result.ts';
export type { WaitOptions } from './app/results/results.ts';
export type { RevokeOptions } from './app/results/revoke.ts';
export { currentTask, type TaskContext, type TaskRequest } from './app/tasks/current-task.ts';
export type { DiscoveryOptions } from './app/tasks/discovery.ts';
export type { TaskEnd, TaskHooks } from './app/tasks/hooks.ts';
// Limits.
export type { GlobalRate, KeyFunction, RateLimit, Serial, Unique } from './app/tasks/limits.ts';
export type { RetryKwargs, RetryOptions } from './app/tasks/retry-options.ts';
// Tasks: what `app.task` makes and what a running task sees.
export type { Task } from './app/tasks/task.ts';
export { TaskBase, type TaskClass } from './app/tasks/task-base.ts';
export type { BoundTaskMaker, TaskMaker } from './app/tasks/task-maker.ts';
export type { CallOptions, EagerOptions, TaskDefaults, TaskOptions } from './app/tasks/task-options.ts';
export type { WorkerEvent, WorkerInfo, WorkerListener } from './app/worker-events.ts';
export { Canvas, type Errback, type FailedRequest, type Sent, type Taking } from './canvas/canvas.ts';
export { Chain, chain } from './canvas/chain.ts';
export { Chord, chord, type MemberEnd, type OnMemberFailure } from './canvas/chord.ts';
export { Group, group } from './canvas/group.ts';
export { Signature } from './canvas/signature.ts';
// For those who write a broker or a backend of their own: see CONTRIBUTING.md and `lovage/testing`.
export type * from './contracts/backend.ts';
export type * from './contracts/broker.ts';
export type * from './contracts/bus.ts';
export type * from './contracts/common.ts';
export type * from './contracts/diagnosis.ts';
export type * from './contracts/limits.ts';
export type * from './contracts/moving.ts';
export type * from './contracts/pool.ts';
export type * from './contracts/setup.ts';
// Errors, sorted in their file by who must act.
export * from './errors.ts';
export type { WireMessage, WireProperties } from './wire/message.ts';
export type { WorkerState } from './worker/life/worker-state.ts';
// Workers.
export type { WorkerCounts } from './worker/running/task-log.ts';
export type { WorkerOptions } from './worker/setup.ts';
export { Worker } from './worker/worker.ts';
