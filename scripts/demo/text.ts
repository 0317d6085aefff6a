import { styleText } from 'node:util';

/** Colour and weight on a terminal; plain elsewhere and with NO_COLOR. */
export function paint(format: Parameters<typeof styleText>[0], text: string): string {
  return styleText(format, text, { stream: process.stdout });
}

/** 12345 as `12,345`. */
export const count = (n: number) => n.toLocaleString('en-US');

/** `1 row`, `2 rows`. */
export const plural = (n: number, noun: string) => `${count(n)} ${noun}${n === 1 ? '' : 's'}`;
