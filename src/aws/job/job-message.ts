import { createHash } from 'node:crypto';
import type { Results } from '../../app/results/results.ts';
import { DecodeError } from '../../errors.ts';
import { decodeBody } from '../../stores/sqs/messages.ts';
import type { Pointer } from '../../stores/sqs/payloads.ts';
import type { WireMessage } from '../../wire/message.ts';
import { type EcsJob, unpackMessage } from './jobs.ts';
import type { SqsHands } from './sqs-hands.ts';

/** The message of a job, as far as it can be had. */
export interface JobMessage {
  /** Where its body is lost, one with nothing but a name: enough to say so under its id. */
  readonly message: WireMessage;
  /** Why its body is lost. */
  readonly lost?: DecodeError;
}

/** Fetches the message of a job, from the store for large payloads where it lies there. @throws StoreError */
export async function jobMessage({ message, payload, taskId, task }: EcsJob, hands: SqsHands): Promise<JobMessage> {
  if (message) return { message: unpackMessage(message) };
  try {
    if (!payload) throw new DecodeError(`the record of job ${taskId} has no message`);
    return { message: decodeBody(await hands.bodyOf(payload)) };
  } catch (error) {
    if (!(error instanceof DecodeError)) throw error;
    const headers = { id: taskId, task, lang: 'js' };
    const named = { body: Buffer.of(), contentType: 'application/json', contentEncoding: 'utf-8', headers };
    return { message: { ...named, properties: { correlation_id: taskId } }, lost: error };
  }
}

/** A late copy of a message tells where its body was, and no more: that it has ended is remembered for as long as SQS may keep one. */
const REMEMBERED_MS = 15 * 24 * 3600 * 1000;

/** Remembers that a message has ended whose body is to be removed from the store. Nothing where the app keeps no results. */
export async function rememberEnd(results: Results, { body }: Pointer): Promise<void> {
  if (!results.backend) return;
  await results.store({ taskId: markOf(body), state: 'ECS_PAYLOAD', result: null, children: [] }, REMEMBERED_MS);
}

/** Whether the message has ended whose body cannot be read any more. */
export async function hasEnded(results: Results, { body }: Pointer): Promise<boolean> {
  return results.backend !== undefined && (await results.fetch(markOf(body))) !== undefined;
}

function markOf(pointer: string): string {
  return `ecs-payload:${createHash('sha256').update(pointer).digest('hex')}`;
}
