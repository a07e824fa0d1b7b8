/** What `quamba bench` and the programs in bench/ share. */
import { cpus } from 'node:os';

export { median, rate } from '../eval/speed.ts';

/** Where and when a figure was measured. Without that it says nothing. */
export const machine = () => ({
  node: process.version,
  cpu: cpus()[0]?.model.trim() ?? 'unknown',
  date: new Date().toISOString().slice(0, 10),
});
