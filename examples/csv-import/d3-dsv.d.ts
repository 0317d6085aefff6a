/** The part of d3-dsv that the example uses; the package brings no types of its own. */
declare module 'd3-dsv' {
  export interface Dsv {
    /** Every record of a text, the header included, as the list of its fields. */
    parseRows(text: string): string[][];
  }
  export function dsvFormat(delimiter: string): Dsv;
}
