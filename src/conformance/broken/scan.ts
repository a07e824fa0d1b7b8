/** Bugs of the selective scan. */
import { exp, silu } from '../../ops/numerics.ts';
import { selectiveScan } from '../../ops/selective-scan.ts';
import { zeros } from '../../tensor.ts';
import { tokensOf } from '../named.ts';
import { toF16 } from './accumulation.ts';
import { type Broken, inKernel, mistaken } from './row.ts';

const f = Math.fround;

interface Step {
  readonly h: number;
  readonly dt: number;
  readonly a: number;
  readonly u: number;
  readonly b: number;
}

/** The scan with another step of h, another sum over n, or both, in the simplest form. */
const scanning = (
  name: string,
  says: string,
  next: (step: Step) => number,
  add: (sum: number, h: number, c: number) => number = (sum, h, c) => f(sum + f(h * c)),
): Broken =>
  inKernel(name, says, selectiveScan, (inputs, _, { y }, { l, d, n }, { h: { data, put } }) => {
    const { u, dt, A, B, C, D, z } = inputs;
    const h = new Float32Array(n);
    for (let t = 0; t < l; t++)
      for (let c = 0; c < d; c++) {
        const at = t * d + c;
        let sum = 0;
        for (let s = 0; s < n; s++) {
          const i = c * n + s;
          h[s] = next({ h: data[i], dt: dt.data[at], a: A.data[i], u: u.data[at], b: B.data[t * n + s] });
          sum = add(sum, h[s], C.data[t * n + s]);
        }
        put(c * n, h);
        if (D) sum = f(sum + f(D.data[c] * u.data[at]));
        y.data[at] = z ? f(sum * silu(z.data[at])) : sum;
      }
  });

const decayed = ({ h, dt, a }: Step): number => f(exp(f(dt * a)) * h);
const plain = (step: Step): number => f(decayed(step) + f(f(step.dt * step.u) * step.b));

/* biome-ignore format: rows of a name, a sentence, and how it is done */
export const scanBugs: readonly Broken[] = [
  mistaken('scan-b-and-c-swapped', 'B and C change places.',
    selectiveScan, { inputs: ({ B, C }) => ({ B: C, C: B }) }),
  mistaken('scan-no-skip', 'D · u is left out.', selectiveScan, { inputs: () => ({ D: undefined }) }),
  mistaken('scan-no-gate', 'silu(z) is left out.', selectiveScan, { inputs: () => ({ z: undefined }) }),
  mistaken('scan-gate-before-skip', 'The gate multiplies the sum over n, and D · u is added behind it.',
    selectiveScan, {
      inputs: () => ({ D: undefined, z: undefined }),
      output(sum, i, { u, D, z }, { d }) {
        const gated = z ? f(sum * silu(z.data[i])) : sum;
        return D ? f(gated + f(D.data[i % d] * u.data[i])) : gated;
      },
    }),
  mistaken('scan-state-ignored', 'The scan starts at zeros, whatever state is given.',
    selectiveScan, { before: h => new Float32Array(h.length) }),
  mistaken('scan-state-not-written', 'The state after the tokens is the one before them.',
    selectiveScan, { after: (_, __, start) => start }),
  inKernel('scan-state-one-step-early', 'The state is the one before the last token.',
    selectiveScan, (inputs, attrs, outputs, dims, { h }) => {
      const before = h.data.slice();
      selectiveScan.reference(inputs, attrs, outputs, dims, { h });
      h.put(0, before);
      const y = zeros('f32', outputs.y.shape);
      selectiveScan.reference(inputs, attrs, { y }, { ...dims, l: dims.l - 1 }, { h });
    }),
  inKernel('scan-reads-before-it-updates', 'y is read from h of the step before.',
    selectiveScan, (inputs, attrs, outputs, dims, { h }) => {
      const { l, d, n } = dims;
      for (let t = 0; t < l; t++) {
        const before = h.data.slice();
        const given = tokensOf(selectiveScan.inputs, inputs, t, 1) as typeof inputs;
        const { y } = tokensOf(selectiveScan.outputs, outputs, t, 1) as typeof outputs;
        selectiveScan.reference(given, attrs, { y }, { ...dims, l: 1 }, { h });
        const { u, C, D, z } = given;
        for (let c = 0; c < d; c++) {
          let sum = D ? f(D.data[c] * u.data[c]) : 0;
          for (let s = 0; s < n; s++) sum = f(sum + f(before[c * n + s] * C.data[s]));
          y.data[c] = z ? f(sum * silu(z.data[c])) : sum;
        }
      }
    }),
  mistaken('scan-state-of-first-channel', 'Every channel starts from the state of the first.',
    selectiveScan, { before: (h, { n }) => h.map((_, i) => h[i % n]) }),
  scanning('scan-exact-hold-of-b', 'B is discretised as A is, by (exp(dt·A) − 1) / A, in place of dt · B.',
    step => {
      const gain = step.a === 0 ? step.dt : f(f(exp(f(step.dt * step.a)) - 1) / step.a);
      return f(decayed(step) + f(f(gain * step.u) * step.b));
    }),
  scanning('scan-linear-decay', '1 + dt·A in place of exp(dt·A): right for small steps.',
    step => f(f(f(1 + f(step.dt * step.a)) * step.h) + f(f(step.dt * step.u) * step.b))),
  scanning('scan-f16-state', 'h is kept in f16.', step => toF16(plain(step))),
  scanning('scan-f16-sum', 'The sum over n is kept in f16.', plain, (sum, h, c) => toF16(sum + f(h * c))),
  scanning('scan-one-lane', 'One ascending sum over n, and exp of dt·A in place of exp2 of dt·(A log₂ e).',
    plain),
  scanning('scan-fma', 'Fused multiply-adds: one rounding for a product and its sum.',
    step => f(exp(f(step.dt * step.a)) * step.h + f(f(step.dt * step.u) * step.b)),
    (sum, h, c) => f(sum + h * c)),
];
