/**
 * Plans changed at random, on every backend: each is refused in a sentence, or gives the same bits everywhere, or fails in the same
 * sentence everywhere. Nothing traps, nothing takes long, no error of JavaScript's own comes through.
 *
 * QUAMBA_FUZZ_PLANS says how many (500 by default), QUAMBA_FUZZ_SEED which.
 */
import { expect, it } from 'vitest';
import { type Backend, prepare } from '../../src/backends/backend.ts';
import { reference } from '../../src/backends/reference.ts';
import { wasm } from '../../src/backends/wasm/index.ts';
import { recipes } from '../../src/quant/recipes.ts';
import { sentenceFault } from '../sentence.ts';
import { random, toys } from '../toy.ts';
import { type Crafted, craft, loadCrafted } from './crafted.ts';
import { mutated } from './mutate.ts';

const COUNT = Number(process.env.QUAMBA_FUZZ_PLANS ?? 500);
const SEED = Number(process.env.QUAMBA_FUZZ_SEED ?? 1);
const backends: readonly Backend[] = [reference, wasm];

/** What says that a backend cannot, which another can. */
const LACKS = /^backend \w+: no kernel for |^wasm: needs \d+ bytes/;

const bases = (
  [
    'quamba-int8-state',
    'dynamic-rotated',
    'w4a8',
    'quamba-int8-head',
    'w4a16-rtn',
    'quamba-plus',
    'fp32',
  ] as const
).map((name, i) => craft(toys[i % toys.length], recipes[name]));

/** What becomes of a plan: the bits of its logits in hexadecimal digits, or a sentence. */
function outcome(backend: Backend, plan: Parameters<typeof prepare>[1]): string {
  const executable = prepare(backend, plan);
  try {
    const sequence = executable.open();
    const fed = [[1, 2, 3, 31, 0], [7], [5, 5]].map(tokens => sequence.feed(Int32Array.from(tokens)));
    const bits = fed.map(({ data }) =>
      Buffer.from(data.map(x => (Number.isNaN(x) ? Number.NaN : x)).buffer).toString('hex'),
    );
    return bits.join(' ');
  } finally {
    executable.dispose?.();
  }
}

const sentenceOr = (make: () => string): string => {
  try {
    return make();
  } catch (error) {
    return `! ${(error as Error).message}`;
  }
};

/** refused, failed, lacking, answered; throws where it is none of them. */
function kindOf(crafted: Crafted): string {
  let plan: ReturnType<typeof loadCrafted>['plan'] | undefined;
  const refusal = sentenceOr(() => ({ plan } = loadCrafted(crafted)) && '');
  if (!plan) {
    checkSentence(refusal, /^! crafted: /);
    return 'refused';
  }
  const loaded = plan;
  const [expected, ...others] = backends.map(backend => sentenceOr(() => outcome(backend, loaded)));
  for (const [i, other] of others.entries()) {
    if (LACKS.test(other.slice(2))) return 'lacking';
    expect(other.slice(0, 200), backends[i + 1].name).toBe(expected.slice(0, 200));
    expect(other === expected, 'all bits').toBe(true);
  }
  if (!expected.startsWith('!')) return 'answered';
  checkSentence(expected, /^! /);
  return 'failed';
}

function checkSentence(text: string, form: RegExp): void {
  expect(text).toMatch(form);
  expect(sentenceFault(text)).toBe('');
}

it(`${COUNT} plans`, { timeout: 0 }, () => {
  const counts: Record<string, number> = {};
  const wrong: string[] = [];
  let slowest = 0;
  for (let i = 0; i < COUNT; i++) {
    const next = random(SEED * 1_000_003 + i);
    const crafted = mutated(bases[i % bases.length], next);
    const begin = performance.now();
    let kind = 'wrong';
    try {
      kind = kindOf(crafted);
    } catch (error) {
      wrong.push(`plan ${i} of seed ${SEED}: ${(error as Error).message}`);
    }
    counts[kind] = (counts[kind] ?? 0) + 1;
    slowest = Math.max(slowest, performance.now() - begin);
  }
  const megabytes = process.resourceUsage().maxRSS / 1024;
  console.log(
    `plans: ${JSON.stringify(counts)}; slowest ${(slowest / 1000).toFixed(2)} s; at most ${megabytes.toFixed(0)} MB`,
  );
  expect(wrong).toEqual([]);
  expect(counts.answered).toBeGreaterThan(COUNT / 20);
});
