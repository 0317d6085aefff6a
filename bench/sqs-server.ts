/** A stand-in for SQS in a process of its own: tells its port, and ends with its parent. */
import { startFauxqs } from 'fauxqs';

process.once('disconnect', () => process.exit(0));
const server = await startFauxqs({ port: 0, logger: false });
process.send?.(server.port);
