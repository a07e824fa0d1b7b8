/** Bounds of the ops that carry a state from token to token: the error of h is carried along beside h. */
import { type Kept, measuredStep, stateView } from '../../state.ts';
import { copy } from './bounds-values.ts';
import type { Bounds, Doubt } from './doubt.ts';
import {
  alike,
  allOf,
  flushed,
  magnitude,
  NONE,
  roundings,
  sigmoid,
  siluDoubt,
  siluSlope,
  sum,
  times,
  tolerance,
} from './doubt.ts';

/** What it adds to the error of a state that it is kept as it is, in words and for the values of a row before they are kept. */
function keeping({
  dtype,
  scale,
}: Kept): [words: string, doubtOf: (values: Float32Array, row: number) => (h: number) => Doubt] {
  if (dtype === 'f16') return [' + 2⁻¹⁰ |h| + 2⁻²⁴', () => h => oneStep(2 ** -10 * Math.abs(h) + 2 ** -24)];
  if (dtype === 'i8') return [' + scale', (_, row) => () => oneStep(scale![row])];
  if (dtype === 'f32') return ['', () => () => NONE];
  // a step that is measured may be its next one, too, which is 2⁻¹⁵ larger and moves 127 of them by as much
  return [' + 1.01 max|h| / 127', values => () => oneStep(1.01 * measuredStep(values))];
}
/** A value next to a tie, which falls to its other side. */
const oneStep = (size: number): Doubt => ({ most: size, variance: size ** 2, shared: 0 });

/**
 * Per state and step, with a = |dt·A|. exp(dt·A) is off by an exp of 2 ulp on either side, and by its argument's
 * roundings: dt·A, and log₂ e and A·log₂ e where it is an exp2, each at most u a.
 *
 *   e_h ← decay · e_h + u ( |decay · h| (6 a + 10) + 4 |dt u B| + 2 |h'| )
 *   e_y = Σ|C| e_h + 2 (n + 2) u ( Σ|C h| + |D u| )
 *   y · silu(z):  |silu z| e_y + |y| (silu's own)
 *
 * A state in binary16 may be one more step off after each token, since a value next to a tie may be rounded to either side. A step is
 * 2⁻¹⁰ |h|, at least 2⁻²⁴.
 *
 *   e_h ← decay · e_h + … + 2⁻¹⁰ |h'| + 2⁻²⁴
 *
 * A state in int8 may be one more step off after each token, too: e_h ← decay · e_h + … + scale.
 */
const scanBounds: Bounds = ({ u, dt, A, B, C, D, z, h: before }, { dims, states }, expected) => {
  const { l, d, n } = dims;
  const [words, doubtOf] = keeping(states.h);
  const state = stateView(states.h, [d, n]);
  state.put(0, before);
  const doubts = new Array<Doubt>(d * n).fill(flushed(1));
  const ofOutput = new Array<Doubt>(l * d).fill(NONE);
  const row = new Float32Array(n);
  for (let t = 0; t < l; t++)
    for (let c = 0; c < d; c++) {
      const at = t * d + c;
      let value = (D?.[c] ?? 0) * u[at];
      let size = Math.abs(value);
      let carried = NONE;
      for (let s = 0; s < n; s++) {
        const i = c * n + s;
        const exponent = dt[at] * A[i];
        const decay = Math.exp(exponent);
        const kept = decay * state.data[i];
        const input = dt[at] * u[at] * B[t * n + s];
        doubts[i] = sum(
          times(doubts[i], decay),
          alike(6 * Math.abs(exponent) + 1, Math.abs(kept)),
          roundings(9, Math.abs(kept)),
          roundings(4, Math.abs(input)),
          roundings(2, Math.abs(kept + input)),
          flushed(3 + Math.abs(state.data[i]) + Math.abs(B[t * n + s]) + Math.abs(u[at])),
        );
        const h = Math.fround(kept + input); // it overflows here too, where f32 overflows
        const product = h * C[t * n + s];
        carried = sum(carried, times(doubts[i], Math.abs(C[t * n + s])));
        value += product;
        size += Math.abs(product);
        row[s] = h;
      }
      state.put(c * n, row);
      const ofKept = doubtOf(row, c);
      for (let s = 0; s < n; s++) doubts[c * n + s] = sum(doubts[c * n + s], ofKept(row[s]));
      const doubt = sum(carried, roundings(2 * (n + 2), size), flushed(n + 2));
      ofOutput[at] = z ? gated(doubt, value, z[at]) : doubt;
    }
  const ofState = `e_h ← decay e_h + u (|decay h| (6 |dt A| + 10) + 4 |dt u B| + 2 |h|)${words}`;
  const formula = `${ofState}, e_y = Σ|C| e_h + 2 (n + 2) u (Σ|C h| + |D u|), times silu`;
  return {
    y: tolerance(formula, expected.y, at => ofOutput[at]),
    h: tolerance(ofState, expected.h, i => doubts[i]),
  };
};

/**
 * The step of a head is a softplus, whose bound is that of the op softplus, of a sum that is off by u |dt + bias| where there is a
 * bias. A limit lets no more of it through than it lets through of the step itself.
 *
 *   e_step = u (8 step + (4 + |dt + bias|) σ(dt + bias)) + τ, between the limits
 *
 * It is one for all states of a head. Then, per state and channel, with a = |step·A|, as in selective-scan:
 *
 *   e_S ← decay e_S + |decay S| (u (6 a + 10) + |A| e_step) + |x B| e_step + u (4 |step x B| + 2 |S'|)
 *   e_y = Σ|C| e_S + 2 (n + 2) u ( Σ|C S| + |D x| )
 *
 * and a step more where S is kept in f16 or int8, after each token.
 */
const ssdBounds: Bounds = ({ dt, x, A, B, C, D, bias, S: before }, { dims, states, attrs }, expected) => {
  const { l, h, p, n, g } = dims;
  const [words, doubtOf] = keeping(states.S);
  const state = stateView(states.S, [h, n, p]);
  state.put(0, before);
  const doubts = new Array<Doubt>(h * n * p).fill(flushed(1));
  const [lo, hi] = [Math.fround(attrs.lo as number), Math.fround(attrs.hi as number)];
  const limited = (step: number) => Math.min(Math.max(step, lo), hi);
  const ofOutput: Doubt[] = [];
  const rows = new Float32Array(n * p);
  for (let t = 0; t < l; t++)
    for (let head = 0; head < h; head++) {
      const raw = dt[t * h + head] + (bias?.[head] ?? 0);
      const free = raw > 20 ? raw : Math.log1p(Math.exp(raw));
      const { most } = sum(
        roundings(8, magnitude(free)),
        roundings(4 + (bias ? magnitude(raw) : 0), sigmoid(raw)),
        flushed(1),
      );
      const step = limited(free);
      const ofStep = Math.max(limited(free + most) - step, step - limited(free - most));
      const exponent = step * A[head];
      const decay = Math.exp(exponent);
      const ofDecay = Math.max(
        ...[ofStep, -ofStep].map(off => Math.abs(Math.exp((step + off) * A[head]) - decay)),
      );
      const first = (t * g + Math.floor((head * g) / h)) * n;
      for (let c = 0; c < p; c++) {
        const at = (t * h + head) * p + c;
        let size = Math.abs((D?.[head] ?? 0) * x[at]);
        let carried = NONE;
        for (let s = 0; s < n; s++) {
          const i = (head * n + s) * p + c;
          const kept = decay * state.data[i];
          const input = step * x[at] * B[first + s];
          doubts[i] = sum(
            times(doubts[i], decay),
            alike(6 * Math.abs(exponent) + 1, Math.abs(kept)),
            roundings(9, Math.abs(kept)),
            allOf(Math.abs(state.data[i]) * ofDecay + Math.abs(x[at] * B[first + s]) * ofStep),
            roundings(4, Math.abs(input)),
            roundings(2, Math.abs(kept + input)),
            flushed(3 + Math.abs(state.data[i]) + Math.abs(B[first + s]) + Math.abs(x[at])),
          );
          const after = Math.fround(kept + input); // it overflows here too, where f32 overflows
          carried = sum(carried, times(doubts[i], Math.abs(C[first + s])));
          size += Math.abs(after * C[first + s]);
          rows[s * p + c] = after;
        }
        ofOutput[at] = sum(carried, roundings(2 * (n + 2), size), flushed(n + 2));
      }
      state.put(head * n * p, rows);
      for (let s = 0; s < n; s++) {
        const row = rows.subarray(s * p, (s + 1) * p);
        const ofKept = doubtOf(row, head * n + s);
        for (let c = 0, i = (head * n + s) * p; c < p; c++, i++) doubts[i] = sum(doubts[i], ofKept(row[c]));
      }
    }
  const ofStep = 'e_step = u (8 step + (4 + |dt + bias|) σ(dt + bias))';
  const ofState = `e_S ← decay e_S + |decay S| (u (6 |step A| + 10) + |A| e_step) + |x B| e_step + u (4 |step x B| + 2 |S|)${words}, ${ofStep}`;
  return {
    y: tolerance(`${ofState}, e_y = Σ|C| e_S + 2 (n + 2) u (Σ|C S| + |D x|)`, expected.y, at => ofOutput[at]),
    S: tolerance(ofState, expected.S, i => doubts[i]),
  };
};

function gated(doubt: Doubt, value: number, z: number): Doubt {
  const silu = z / (1 + Math.exp(-z));
  return sum(
    times(doubt, Math.abs(silu)),
    times(siluDoubt(z), Math.abs(value)),
    roundings(2, Math.abs(value * silu)),
    flushed(1),
  );
}

export const stateBounds: Readonly<Record<string, Bounds>> = {
  'causal-conv1d': ({ x, w, b, past: before }, { dims: { d, k }, attrs }, { y, past: after }) => {
    const past = (t: number, c: number): number => (t >= 0 ? x[t * d + c] : before[c * (k - 1) + t + k - 1]);
    const ofSum = (at: number): readonly [value: number, doubt: Doubt] => {
      const c = at % d;
      const t = (at - c) / d;
      let value = b?.[c] ?? 0;
      let size = Math.abs(value);
      for (let j = 0; j < k; j++) {
        const product = w[c * k + j] * past(t - k + 1 + j, c);
        value += product;
        size += Math.abs(product);
      }
      return [value, sum(roundings(2 * (k + 1), size), flushed(k))];
    };
    const formula = '2 (k + 1) u (Σ|w x| + |b|) + k τ';
    return {
      y:
        attrs.activation === 'none'
          ? tolerance(formula, y, at => ofSum(at)[1])
          : tolerance(`|silu'| (${formula}) + silu of 12 u |y| + (1 + |x|) τ`, y, at => {
              const [value, doubt] = ofSum(at);
              return sum(times(doubt, Math.abs(siluSlope(value)) + doubt.most), siluDoubt(value));
            }),
      past: copy(after),
    };
  },

  'selective-scan': scanBounds,
  'ssd-scan': ssdBounds,
};
