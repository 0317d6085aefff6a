/** `lovage/aws`: what runs Lovage's work on AWS, beside its brokers and result backends. */

/** Long jobs on ECS: a Lambda function that starts an ECS task for each message, and one that looks after them. */
export { ecsDispatcher, type LambdaContext, type SqsHandler } from './dispatcher.ts';
export type { CapacityProvider, EcsDispatcherOptions, NetworkConfiguration } from './ecs-options.ts';
export { type EcsReconcilerOptions, ecsReconciler, type Reconciled } from './reconciler.ts';
export { type RunOneEnd, type RunOneOptions, runOne } from './run-one.ts';
/** What an answer to RunTask means; a pure function. */
export { classifyRunTask, type RunTaskAnswer, type RunTaskVerdict, type VerdictKind } from './run-task-verdict.ts';
export type { BatchAnswer, SqsEvent, SqsRecord } from './sqs-event.ts';
