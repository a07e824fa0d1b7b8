/** What every measurement needs, of `quamba bench` and of the programs in bench/. */
import { cpus } from 'node:os';

/** How many of `count` are done in a second, where `work` does them all. */
export function rate(count: number, work: () => void): number {
  const start = performance.now();
  work();
  return count / ((performance.now() - start) / 1000);
}

export const median = (values: readonly number[]): number =>
  values.toSorted((a, b) => a - b)[values.length >> 1];

/** Where and when: without it a figure says nothing. */
export const machine = () => ({
  node: process.version,
  cpu: cpus()[0]?.model.trim() ?? 'unknown',
  date: new Date().toISOString().slice(0, 10),
});
