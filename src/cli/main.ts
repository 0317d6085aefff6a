#!/usr/bin/env node
import { reportFailure } from './failure.ts';
import { lovageProgram } from './program.ts';

// `lovage queues | head -1` is no failure.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit();
  throw error;
});

const program = lovageProgram();
try {
  if (process.argv.length <= 2) program.outputHelp();
  else await program.parseAsync();
} catch (error) {
  process.exitCode = reportFailure(error, program.opts<{ json?: boolean }>().json ?? false);
}

// Nothing of ours is open now. What the app opened (a pool of connections) or a task left behind must not keep us.
setTimeout(() => process.exit(), 500).unref();
