/** The Lambda function that the queue triggers: it starts an ECS task for each upload. Its mapping needs ReportBatchItemFailures. */
import { ecsDispatcher } from '../../../src/aws/index.ts';
import { app } from './app.ts';

const { ECS_CLUSTER = 'csv-import', ECS_TASK_DEFINITION = 'csv-import', ECS_SUBNETS = '' } = process.env;

export const handler = ecsDispatcher({
  app,
  cluster: ECS_CLUSTER,
  taskDefinition: ECS_TASK_DEFINITION,
  container: 'app',
  launchType: 'FARGATE',
  networkConfiguration: { subnets: ECS_SUBNETS.split(',') },
});
