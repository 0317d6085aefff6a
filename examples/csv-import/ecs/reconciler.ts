/** The Lambda function that EventBridge calls: for each "ECS Task State Change" that says STOPPED, and every few minutes. */
import { ecsReconciler } from '../../../src/aws/index.ts';
import { app } from './app.ts';

export const handler = ecsReconciler(app);
