/** `lovage/aws`: what runs Lovage's work on AWS, beside its brokers and result backends. */

/** Workers on ECS that follow their backlog. */
export { type BacklogMonitorOptions, backlogMonitor, monitorInWorkers } from './backlog-monitor.ts';
export type { AwsPlace } from './clients.ts';
/** Long jobs on ECS: a Lambda function that starts an ECS task for each message, and one that looks after them. */
export { ecsDispatcher, type LambdaContext, type SqsHandler } from './dispatcher.ts';
export type { CapacityProvider, EcsDispatcherOptions, NetworkConfiguration } from './ecs-options.ts';
export { ecsTarget } from './ecs-target.ts';
export type { Dimension } from './metric-names.ts';
export { type ProtectionOptions, protectFromScaleIn } from './protection.ts';
export { type EcsReconcilerOptions, ecsReconciler, type Reconciled } from './reconciler.ts';
export { type RunOneEnd, type RunOneOptions, runOne } from './run-one.ts';
/** What an answer to RunTask means; a pure function. */
export { classifyRunTask, type RunTaskAnswer, type RunTaskVerdict, type VerdictKind } from './run-task-verdict.ts';
export type { BatchAnswer, SqsEvent, SqsRecord } from './sqs-event.ts';
