// What JavaScript sees of the module.
export { join, run, work } from './pool';
export { dotHalves } from './tiles-i4';
export { dot, setOffset } from './tiles-i8';

/** The first byte that holds none of the module's own constants. */
export const heapBase: usize = __heap_base;
