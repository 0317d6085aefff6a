/** The backlog of workers, and services that follow it: what `lovage autoscale` is made of, for programs. */
export type { BacklogReading, Formula, QueueBacklog, TaskCounts } from './backlog.ts';
export { commandTarget } from './command.ts';
export { backlogEndpoint, type Endpoint, type EndpointOptions } from './endpoint.ts';
export { type HerokuOptions, herokuTarget } from './heroku.ts';
export { BacklogMonitor, type MonitorOptions, type MonitorParts } from './monitor.ts';
export { reportRuntimes } from './runtimes.ts';
export { type ScalerOptions, scaler, starter } from './scaler.ts';
export { simulate } from './simulate.ts';
export type { Percentiles, Sample, Simulation, SimulationResult } from './simulation.ts';
export type { BacklogSink, ScalingTarget } from './target.ts';
export { awsTracking, type TrackingPolicy } from './tracking.ts';
