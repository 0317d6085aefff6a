// The end of a pipe whose other end the parent holds, and nobody writes to: when it closes, the parent is gone.
import { Socket } from 'node:net';
import { dieWithAll, LIFELINE_FD } from './lifeline.ts';

const pipe = new Socket({ fd: LIFELINE_FD, readable: true, writable: false });
pipe.on('error', () => {});
pipe.once('close', dieWithAll);
pipe.resume();
