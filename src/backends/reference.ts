/** The reference: every op is computed by its own definition. It is slow, and it is correct by definition. */
import type { Backend } from './backend.ts';

export const reference: Backend = { name: 'reference', kernelOf: op => op.reference };
