/**
 * docs/numerics.md: measures exp, exp2, log1p, softplus, silu, sin and cos. It takes some minutes, so that it is written on demand only:
 *
 *   npm run numerics
 *
 * Two passes for each function. float64 judges every argument where an error can be large, and finds the worst places; 64
 * decimal digits judge these, an even spread, and the borders between the cases of the implementation.
 */
import { expect, it } from 'vitest';
import { cos, exp, exp2, log1p, silu, sin, softplus } from '../../src/ops/numerics.ts';
import * as oracle from '../ops/numerics-oracle.ts';
import { code, table } from './markdown.ts';

const implemented = { exp, exp2, log1p, softplus, silu, sin, cos };

const EACH_EXPONENT = 4_000; // × 510 exponents and signs
const EXACT = 20_000;
const WORST = 1_000;
const NEIGHBOURS = 20_000;
const DENORMAL = 2 ** -149;

const count = (n: number) => n.toLocaleString('en').replaceAll(',', ' ');
const show = (x: number) =>
  (Object.is(x, -0) ? '−0' : String(Number.parseFloat(x.toPrecision(9))))
    .replace('-', '−')
    .replace('Infinity', 'inf');

function measure(name: oracle.Name): readonly string[] {
  const of = oracle.functions[name];
  const ours = implemented[name];
  const worst: [error: number, x: number][] = []; // by float64, the WORST largest
  let swept = 0;
  let least = 0;
  for (const points of [
    oracle.everyExponent(EACH_EXPONENT),
    oracle.everyFloat(-2, 7),
    oracle.aroundBorders(of, 20),
  ])
    for (const x of points) {
      if (!oracle.isDefined(name, x)) continue;
      swept++;
      const error = oracle.nearError(of, x, ours(x));
      if (error <= least) continue;
      worst.push([error, x]);
      if (worst.length < 4 * WORST) continue;
      worst.sort(([a], [b]) => b - a).length = WORST;
      least = worst.at(-1)![0];
    }
  worst.sort(([a], [b]) => b - a).length = Math.min(worst.length, WORST);

  let exact = 0;
  let top = { error: 0, x: 0 };
  for (const points of [worst.map(([, x]) => x), oracle.evenly(of, EXACT), oracle.aroundBorders(of, 1)])
    for (const x of points) {
      if (!oracle.isActive(of, x)) continue;
      exact++;
      const error = oracle.exactError(of, x, ours(x));
      if (error > top.error) top = { error, x };
    }
  const at = [0, -0, Infinity, -Infinity, Number.NaN, DENORMAL].map(x => show(ours(x)));
  return [
    name,
    domain[name],
    `${count(swept)} + ${count(exact)}`,
    roundUp(top.error),
    show(top.x),
    falls(name),
    ...at,
  ];
}

const roundUp = (error: number) => (Math.ceil(error * 1000) / 1000).toFixed(3);
const domain: Readonly<Record<oracle.Name, string>> = {
  exp: 'all',
  exp2: 'all',
  log1p: 'x > −1',
  softplus: 'all',
  silu: 'all',
  sin: '−2²⁰ … 2²⁰',
  cos: '−2²⁰ … 2²⁰',
};

/** The largest fall between neighbouring arguments, in ulps. */
function falls(name: oracle.Name): string {
  if (['silu', 'sin', 'cos'].includes(name)) return '—'; // rises and falls
  let largest = 0;
  for (let exponent = 97; exponent < 134; exponent++)
    for (const sign of [0, -2147483648]) {
      let last = sign ? Infinity : -Infinity;
      for (let i = 0; i < NEIGHBOURS; i++) {
        const x = oracle.fromBits(sign | ((exponent << 23) + 3_000_000 + i));
        if (!oracle.isDefined(name, x)) continue;
        const y = implemented[name](x);
        const fall = sign ? y - last : last - y;
        if (fall > 0 && fall < Infinity) largest = Math.max(largest, fall / oracle.ulp(y));
        last = y;
      }
    }
  return `${largest}`;
}

const names = Object.keys(oracle.functions) as oracle.Name[];

it('docs/numerics.md', () =>
  expect(`# Numerics

The worst errors of the elementary functions in \`src/ops/numerics.ts\`, in units of the last place (ulp) of float32.
Made by \`npm run numerics\`; do not edit.

${table(
  [
    'function',
    'domain',
    'points',
    'worst ulp',
    'where',
    'falls',
    'at 0',
    'at −0',
    'at inf',
    'at −inf',
    'at NaN',
    'at 2⁻¹⁴⁹',
  ],
  names.map(measure),
)}

- **points**: judged by float64, and then by 64 decimal digits. The first are every float32 from 2⁻² to 2⁷ in size,
  of both signs, ${count(EACH_EXPONENT)} mantissas of every exponent, and the neighbours of every border between two cases of the implementation. The second are the ${count(WORST)} of them that float64
  finds worst, ${count(EXACT)} evenly spaced, and the borders. The figure is from the second, rounded up. It is the worst
  that was found. Below 2⁻² the errors are smaller; above 2⁷ only log1p, sin and cos are neither saturated nor their own argument.
- **ulp**: |result − truth| over the distance between float32 values at the truth; 2⁻¹⁴⁹ below the smallest normal number.
  An overflow to infinity counts as the value 2¹²⁸.
- **falls**: the largest fall of the result between two neighbouring arguments, x rising, over ${count(NEIGHBOURS)} neighbours in
  each binade from 2⁻³⁰ to 2⁶ and both signs, in ulps: 0 where the function never fell.
- exp2 is at most 1 for every argument that is not positive, so a decay of the scan never grows the state.

## Fingerprints

${table(
  ['function', 'sha256 of its results, first half'],
  names.map(name => [name, code(oracle.fingerprint(implemented[name]))]),
)}

The results, as little-endian float32 with every NaN as 7fc00000, for these 102 000 arguments: sign + and then −, biased
exponents 0 … 254, and in each the 200 mantissas round(i · 8388607 / 199), i = 0 … 199, halves up.
`).toMatchFileSnapshot('../../docs/numerics.md'));
