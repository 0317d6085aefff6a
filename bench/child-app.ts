import { benchApp } from './app.ts';

/** The measured application as children of a worker load it: the broker comes from the environment. */
export const { app } = benchApp(process.env.LOVAGE_BENCH_BROKER ?? 'memory://');
