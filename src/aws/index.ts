/** Lovage on AWS: workers on ECS that follow their backlog. */
export { type BacklogMonitorOptions, backlogMonitor, monitorInWorkers } from './backlog-monitor.ts';
export type { AwsPlace } from './clients.ts';
export { ecsTarget } from './ecs-target.ts';
export type { Dimension } from './metric-names.ts';
export { type ProtectionOptions, protectFromScaleIn } from './protection.ts';
