#!/usr/bin/env node
import { nodeTooOld } from './version.ts';

const tooOld = nodeTooOld(process.versions.node);
if (tooOld) {
  console.error(tooOld);
  process.exit(2);
}

// `lovage queues | head -1` is no failure.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit();
  throw error;
});

// Only now: a Node that is too old could not even load these.
const { lovageProgram } = await import('./program.ts');
const { reportFailure } = await import('./failure.ts');

const program = lovageProgram();
try {
  if (process.argv.length <= 2) program.outputHelp();
  else await program.parseAsync();
} catch (error) {
  process.exitCode = reportFailure(error, program.opts<{ json?: boolean }>().json ?? false);
}

// Nothing of ours is open now. What the app opened (a pool of connections) or a task left behind must not keep us.
setTimeout(() => process.exit(), 500).unref();
