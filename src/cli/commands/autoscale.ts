import { Command } from 'commander';
import { monitorCommand } from './autoscale-monitor.ts';
import { policyCommand } from './autoscale-policy.ts';
import { simulateCommand } from './autoscale-simulate.ts';

/** `lovage autoscale`: has the number of workers follow the backlog. */
export function autoscaleCommand(): Command {
  return new Command('autoscale')
    .description('have the number of workers follow the backlog: on ECS, on Heroku, or with a script of your own')
    .addCommand(monitorCommand())
    .addCommand(policyCommand())
    .addCommand(simulateCommand());
}
