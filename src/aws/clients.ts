import { awsClientConfig, openAwsClient } from '../stores/aws/client.ts';
import { type AwsCall, awsError } from '../stores/aws/errors.ts';
import { awsAddress } from '../stores/aws/options.ts';
import { loadPeer } from '../util/load-peer.ts';

/** Where AWS is: without them the SDK finds region, credentials and endpoint, as everywhere. */
export interface AwsPlace {
  /** Such as `eu-west-1`. */
  readonly region?: string | undefined;
  /** For a stand-in or a VPC endpoint. `AWS_ENDPOINT_URL` and `AWS_ENDPOINT_URL_ECS` do the same. */
  readonly endpointUrl?: string | undefined;
}

/** One try of one request. */
export type Send<Client> = <Output>(
  call: Pick<AwsCall, 'action' | 'on'>,
  request: (client: Client) => Promise<Output>,
) => Promise<Output>;

/** A client of one service, opened by its first request; what fails says so in Lovage's words. */
export interface AwsService<Client, Sdk> {
  sdk(): Promise<Sdk>;
  readonly send: Send<Client>;
  close(): void;
}

interface Openable {
  readonly config: { region(): Promise<string>; credentials(): Promise<unknown> };
  destroy(): void;
}

type Config = ReturnType<typeof awsClientConfig>;

/** ECS. */
export function ecsService(place: AwsPlace, neededFor: string) {
  const load = () => loadPeer('@aws-sdk/client-ecs', neededFor, () => import('@aws-sdk/client-ecs'));
  return service('ECS', place, load, (sdk, config) => new sdk.ECSClient(config));
}

/** CloudWatch. */
export function cloudwatchService(place: AwsPlace, neededFor: string) {
  const load = () => loadPeer('@aws-sdk/client-cloudwatch', neededFor, () => import('@aws-sdk/client-cloudwatch'));
  return service('CloudWatch', place, load, (sdk, config) => new sdk.CloudWatchClient(config));
}

/** Application Auto Scaling. */
export function scalingService(place: AwsPlace, neededFor: string) {
  const load = () =>
    loadPeer(
      '@aws-sdk/client-application-auto-scaling',
      neededFor,
      () => import('@aws-sdk/client-application-auto-scaling'),
    );
  return service(
    'Application Auto Scaling',
    place,
    load,
    (sdk, config) => new sdk.ApplicationAutoScalingClient(config),
  );
}

function service<Client extends Openable, Sdk>(
  name: string,
  place: AwsPlace,
  load: () => Promise<Sdk>,
  make: (sdk: Sdk, config: Config) => Client,
): AwsService<Client, Sdk> {
  let opening: Promise<Client> | undefined;
  const open = async () => {
    const sdk = await load();
    const address = awsAddress({ user: '', password: '', where: name }, place);
    const client = make(sdk, awsClientConfig(address));
    try {
      await openAwsClient(client, address, name);
      return client;
    } catch (error) {
      client.destroy();
      throw error;
    }
  };
  return {
    sdk: load,
    async send(call, request) {
      opening ??= open();
      const client = await opening.catch((error) => {
        opening = undefined;
        throw error;
      });
      try {
        return await request(client);
      } catch (error) {
        throw awsError(error, { url: name, ...call });
      }
    },
    close() {
      void opening?.then(
        (client) => client.destroy(),
        () => {},
      );
      opening = undefined;
    },
  };
}
