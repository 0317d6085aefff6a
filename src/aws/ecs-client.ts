import { awsClientConfig, openAwsClient } from '../stores/aws/client.ts';
import type { AwsAddress } from '../stores/aws/options.ts';
import { loadPeer } from '../util/load-peer.ts';
import type { RunTaskAnswer } from './dispatch/run-task-verdict.ts';

type RunTaskRequest = import('@aws-sdk/client-ecs').RunTaskRequest;

/** The one request to ECS that a dispatcher makes. */
export interface RunTaskClient {
  /** One attempt; what ECS or the network raised comes back as it is, for `classifyRunTask`. */
  runTask(request: RunTaskRequest): Promise<RunTaskAnswer | Error>;
}

/** Opens a client of ECS. @throws MissingPackageError, ConfigError, StoreAccessError */
export async function openRunTask(address: AwsAddress): Promise<RunTaskClient> {
  const sdk = await loadPeer('@aws-sdk/client-ecs', 'ecsDispatcher', () => import('@aws-sdk/client-ecs'));
  const client = new sdk.ECSClient(awsClientConfig(address));
  await openAwsClient(client, address, 'ECS');
  return {
    async runTask(request) {
      try {
        return await client.send(new sdk.RunTaskCommand(request));
      } catch (error) {
        return error instanceof Error ? error : new Error(String(error));
      }
    },
  };
}
