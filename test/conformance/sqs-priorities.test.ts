import { sqsConformance } from '../support/sqs-conformance.ts';

sqsConformance('standard queues with priorities', { prioritySteps: [0, 6] });
