/** A share of the differential fuzz: cases from a fixed seed. `npm run fuzz -- --minutes N` runs others, for as long as wanted. */
import { expect, it } from 'vitest';
import { runSeed } from './differ.ts';

const CASES = 200;

it(`${CASES} cases: every path gives the same bits, or the same sentence`, async () => {
  const counts = { refused: 0, failed: 0, ran: 0 };
  for (let seed = 1; seed <= CASES; seed++) counts[(await runSeed(seed)).kind]++;
  expect(Math.min(...Object.values(counts)), JSON.stringify(counts)).toBeGreaterThan(CASES / 20);
});
