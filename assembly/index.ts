// What JavaScript sees of the module: one function, and where memory is free.
export { execute } from './execute';

/** The first byte that holds none of the module's own constants. */
export const heapBase: usize = __heap_base;
