/** The ops as a value: `ops.fwht`. */
export * as ops from './list.ts';
