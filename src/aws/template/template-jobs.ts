import { arn, type Resource, type Resources, ref, taskDefinition } from './template-parts.ts';
import { containerPolicy, dispatcherPolicy, type Place, reconcilerPolicy, role } from './template-roles.ts';

export interface JobParts {
  readonly place: Place;
  readonly environment: Readonly<Record<string, string>>;
  readonly appPath: string;
  readonly settings: {
    readonly cpu: number;
    readonly memory: number;
    readonly stopTimeout: number;
    readonly functionTimeout: number;
    readonly maxConcurrency: number;
  };
}

/** Long jobs: the two functions with what calls them, and the container of a job. */
export function jobResources(parts: JobParts): Resources {
  return { ...functions(parts), ...container(parts) };
}

function functions({ place, environment, settings }: JobParts): Resources {
  const common = (handler: string, roleName: string, timeout: number) => ({
    Runtime: 'nodejs24.x',
    Handler: ref(handler),
    Role: arn(roleName),
    Timeout: timeout,
    MemorySize: 512,
    Code: { S3Bucket: ref('CodeBucket'), S3Key: ref('CodeKey') },
  });
  const ecs = {
    ECS_CLUSTER: ref('Cluster'),
    ECS_TASK_DEFINITION: ref('TaskDefinition'),
    ECS_SUBNETS: { 'Fn::Join': [',', ref('Subnets')] },
    ECS_SECURITY_GROUPS: { 'Fn::Join': [',', ref('SecurityGroups')] },
  };
  return {
    DispatcherRole: role('lambda.amazonaws.com', dispatcherPolicy(place)),
    Dispatcher: {
      Type: 'AWS::Lambda::Function',
      Properties: {
        ...common('DispatcherHandler', 'DispatcherRole', settings.functionTimeout),
        Environment: { Variables: { ...environment, ...ecs } },
      },
    },
    DispatcherMapping: {
      Type: 'AWS::Lambda::EventSourceMapping',
      Properties: {
        EventSourceArn: arn('Queue'),
        FunctionName: ref('Dispatcher'),
        BatchSize: 10,
        FunctionResponseTypes: ['ReportBatchItemFailures'],
        ScalingConfig: { MaximumConcurrency: settings.maxConcurrency },
      },
    },
    ReconcilerRole: role('lambda.amazonaws.com', reconcilerPolicy(place)),
    Reconciler: {
      Type: 'AWS::Lambda::Function',
      Properties: {
        ...common('ReconcilerHandler', 'ReconcilerRole', 300),
        Environment: { Variables: environment },
      },
    },
    StoppedRule: {
      Type: 'AWS::Events::Rule',
      Properties: {
        Description: 'ECS tasks that have stopped',
        EventPattern: {
          source: ['aws.ecs'],
          'detail-type': ['ECS Task State Change'],
          detail: { lastStatus: ['STOPPED'], startedBy: [{ prefix: 'lovage/' }] },
        },
        Targets: [{ Id: 'reconciler', Arn: arn('Reconciler') }],
      },
    },
    SweepRule: {
      Type: 'AWS::Events::Rule',
      Properties: {
        Description: 'Jobs whose container is not heard of any more',
        ScheduleExpression: 'rate(5 minutes)',
        Targets: [{ Id: 'reconciler', Arn: arn('Reconciler') }],
      },
    },
    StoppedPermission: permission('StoppedRule'),
    SweepPermission: permission('SweepRule'),
  };
}

function permission(rule: string): Resource {
  return {
    Type: 'AWS::Lambda::Permission',
    Properties: {
      FunctionName: ref('Reconciler'),
      Action: 'lambda:InvokeFunction',
      Principal: 'events.amazonaws.com',
      SourceArn: arn(rule),
    },
  };
}

function container({ place, environment, appPath, settings: { cpu, memory, stopTimeout } }: JobParts): Resources {
  return {
    TaskRole: role('ecs-tasks.amazonaws.com', containerPolicy(place)),
    TaskDefinition: taskDefinition({
      what: 'run-one',
      command: ['-A', appPath, 'run-one'],
      role: 'TaskRole',
      cpu,
      memory,
      stopTimeout,
      environment,
    }),
  };
}
