import { sqsConformance } from '../support/sqs-conformance.ts';

sqsConformance('standard queues', {});
