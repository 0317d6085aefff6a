import { describe, test } from 'vitest';
import { brokerConformance } from '../../src/testing/index.ts';
import { sqsFixture } from '../support/sqs-fixture.ts';

// A file for each kind of queues: the laws mostly wait, so they run side by side.
describe('FIFO queues', () => brokerConformance({ describe, test }, sqsFixture({ fifo: true })));
