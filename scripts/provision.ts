/**
 * What some tests need of the machine, besides Node: which lanes of tests, and how to get it. On Debian, as root, what is
 * missing is installed; elsewhere a lane that cannot run is named, with what would install it.
 */
import { spawnSync } from 'node:child_process';

interface Need {
  readonly name: string;
  /** A command that succeeds where it is there. */
  readonly check: readonly [string, ...string[]];
  /** Debian packages that bring it. */
  readonly packages: readonly string[];
}

const redis: Need = {
  name: 'redis-server',
  check: ['redis-server', '--version'],
  packages: ['redis-server'],
};

const celery: Need = {
  name: 'Python Celery',
  check: ['/usr/bin/python3', '-c', 'import celery, redis, msgpack, yaml'],
  packages: ['python3-celery', 'python3-redis', 'python3-msgpack', 'python3-yaml'],
};

const boto3: Need = {
  name: "Python's boto3",
  check: ['/usr/bin/python3', '-c', 'import boto3'],
  packages: ['python3-boto3'],
};

const celeryOnSqs: Need = {
  name: "Python's clients of SQS",
  check: ['/usr/bin/python3', '-c', 'import boto3, pycurl'],
  packages: ['python3-boto3', 'python3-pycurl'],
};

export interface Lane {
  readonly name: string;
  /** Its test files. */
  readonly files: readonly string[];
  readonly needs: readonly Need[];
}

/** What part of the tests needs which programs. */
export const lanes: readonly Lane[] = [
  {
    name: 'redis',
    files: [
      'test/**/redis*.test.ts',
      'test/**/redis/**',
      'test/app/{checkpoints,lanes,limits,namesakes,revoke}.test.ts',
      'test/app/canvas/client-envelopes.test.ts',
      'test/cli/{redis-doctor,worker-signals}.test.ts',
      'test/examples/heroku.test.ts',
      'test/fault/{canvas,migrate,migrate-sqs,once,reconnect,redelivered}.test.ts',
    ],
    needs: [redis],
  },
  {
    name: 'interop on DynamoDB and S3',
    files: ['test/interop/{dynamodb,s3}*.test.ts'],
    needs: [redis, celery, boto3],
  },
  { name: 'interop', files: ['test/interop/**', 'test/fault/redis-ordeal.test.ts'], needs: [redis, celery] },
  { name: 'interop on SQS', files: ['test/interop/sqs*.test.ts'], needs: [redis, celery, celeryOnSqs] },
];

/** A lane that cannot run here. */
export interface MissingLane {
  readonly name: string;
  readonly files: readonly string[];
  /** What is missing, and the line that installs it. */
  readonly reason: string;
}

/** Installs what lanes need, where it can; returns the lanes that cannot run. `log` hears what is done. */
export function provision(log: (line: string) => void): MissingLane[] {
  const missing = [...new Set(lanes.flatMap(({ needs }) => needs))].filter((need) => !isThere(need));
  if (missing.length > 0 && canInstall()) install(missing, log);
  const stillMissing = missing.filter((need) => !isThere(need));
  return lanes.flatMap(({ name, files, needs }) => {
    const lacking = needs.filter((need) => stillMissing.includes(need));
    if (lacking.length === 0) return [];
    const packages = lacking.flatMap((need) => need.packages).join(' ');
    const names = lacking.map((need) => need.name).join(' and ');
    return [{ name, files, reason: `${names} missing; on Debian: apt-get install ${packages}` }];
  });
}

function isThere({ check: [file, ...args] }: Need): boolean {
  return spawnSync(file, args, { stdio: 'ignore' }).status === 0;
}

function canInstall(): boolean {
  return process.getuid?.() === 0 && spawnSync('apt-get', ['--version'], { stdio: 'ignore' }).status === 0;
}

function install(needs: readonly Need[], log: (line: string) => void): void {
  const packages = needs.flatMap((need) => need.packages);
  log(`installing ${packages.join(' ')}`);
  for (const args of [
    ['update', '-qq'],
    ['install', '-y', '-qq', '--no-install-recommends', ...packages],
  ]) {
    const { status, stdout, stderr, error } = spawnSync('apt-get', args, {
      encoding: 'utf8',
      // No questions, and no system services started where Debian asks first.
      env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive', RUNLEVEL: '1' },
    });
    if (status === 0) continue;
    log(`apt-get ${args.join(' ')} failed:\n${error ?? ''}${stdout}${stderr}`);
    return;
  }
}
