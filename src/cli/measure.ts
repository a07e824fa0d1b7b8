/** What every measurement needs, of `quamba bench` and of the programs in bench/. */
import { cpus } from 'node:os';

export { median, rate } from '../eval/speed.ts';

/** Where and when: without it a figure says nothing. */
export const machine = () => ({
  node: process.version,
  cpu: cpus()[0]?.model.trim() ?? 'unknown',
  date: new Date().toISOString().slice(0, 10),
});
