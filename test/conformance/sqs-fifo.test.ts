import { sqsConformance } from '../support/sqs-conformance.ts';

sqsConformance('FIFO queues', { fifo: true });
