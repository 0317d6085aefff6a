/** `lovage/aws`: what runs Lovage's work on AWS, beside its brokers and result backends. */

export type { AwsPlace } from './clients.ts';
/** Long jobs on ECS: a Lambda function that starts an ECS task for each message, and one that looks after them. */
export { ecsDispatcher, type LambdaContext, type SqsHandler } from './dispatch/dispatcher.ts';
export type { CapacityProvider, EcsDispatcherOptions, NetworkConfiguration } from './dispatch/ecs-options.ts';
export { ecsTarget } from './dispatch/ecs-target.ts';
/** What an answer to RunTask means; a pure function. */
export {
  classifyRunTask,
  type RunTaskAnswer,
  type RunTaskVerdict,
  type VerdictKind,
} from './dispatch/run-task-verdict.ts';
export type { BatchAnswer, SqsEvent, SqsRecord } from './dispatch/sqs-event.ts';
export { type EcsReconcilerOptions, ecsReconciler, type Reconciled } from './job/reconciler.ts';
export { type RunOneEnd, type RunOneOptions, runOne } from './job/run-one.ts';
/** Workers on ECS that follow their backlog. */
export { type BacklogMonitorOptions, backlogMonitor, monitorInWorkers } from './scaling/backlog-monitor.ts';
export type { Dimension } from './scaling/metric-names.ts';
export { type ProtectionOptions, protectFromScaleIn } from './scaling/protection.ts';
