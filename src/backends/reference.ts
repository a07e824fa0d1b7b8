/** The reference: every op by its own definition. Slow, and right by definition. */
import type { Backend } from './backend.ts';

export const reference: Backend = { name: 'reference', kernelOf: op => op.reference };
