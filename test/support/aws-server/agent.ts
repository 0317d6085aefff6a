/** What a task of ECS can ask from inside: the agent's endpoint of scale-in protection, and the metadata of the task. */
import type { TestEcs } from './ecs.ts';
import { AwsRefusal } from './faults.ts';

interface AgentRequest {
  readonly method: string;
  readonly url: string;
  readonly body: string;
}

interface AgentAnswer {
  readonly status: number;
  readonly body: object;
}

/** The answer to a request to the agent; `undefined` for one that is none. */
export async function answerAgent(ecs: TestEcs, request: AgentRequest): Promise<AgentAnswer | undefined> {
  const [, part, id = '', rest] = /^\/(agent|metadata)\/([^/]+)\/(.*)$/.exec(request.url) ?? [];
  if (part === undefined) return undefined;
  const task = ecs.tasks.get(id);
  if (!task) return { status: 404, body: {} };
  if (part === 'metadata' && rest === 'task')
    return {
      status: 200,
      body: {
        Cluster: task.cluster,
        TaskARN: task.arn,
        Family: task.family,
        DesiredStatus: 'RUNNING',
        KnownStatus: 'RUNNING',
      },
    };
  if (rest !== 'task-protection/v1/state') return { status: 404, body: {} };
  try {
    if (ecs.agentFailures-- > 0)
      throw new AwsRefusal('RequestTimeout', 'the endpoint of ECS does not answer', { status: 504 });
    ecs.agentFailures = Math.max(0, ecs.agentFailures);
    const asked = request.method === 'PUT' ? readBody(request.body) : undefined;
    const { failure, protectedTask } = ecs.protect(task, asked);
    if (failure) return { status: 200, body: { failure } };
    return { status: 200, body: { protection: protectedTask } };
  } catch (error) {
    if (!(error instanceof AwsRefusal)) throw error;
    return {
      status: error.status,
      body: { requestID: 'test', error: { Arn: task.arn, Code: error.name, Message: error.message } },
    };
  }
}

function readBody(body: string): { enabled: boolean; minutes: number } {
  const {
    ProtectionEnabled: enabled,
    ExpiresInMinutes: minutes = 120,
    ...others
  } = JSON.parse(body) as Record<string, unknown>;
  if (typeof enabled !== 'boolean' || typeof minutes !== 'number' || !Number.isInteger(minutes))
    throw new AwsRefusal(
      'InvalidParameterException',
      'ProtectionEnabled must be true or false, ExpiresInMinutes a whole number',
    );
  if (Object.keys(others).length > 0)
    throw new AwsRefusal('InvalidParameterException', `unknown: ${Object.keys(others)}`);
  if (minutes < 1 || minutes > 2880)
    throw new AwsRefusal('InvalidParameterException', 'ExpiresInMinutes must be 1 to 2880');
  return { enabled, minutes };
}
