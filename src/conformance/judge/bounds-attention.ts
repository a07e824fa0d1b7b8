/** The bound of attention: how far its weights may be off, and the sums over the tokens before. */
import { copy } from './bounds-values.ts';
import { alike, allOf, type Bounds, type Doubt, flushed, roundings, sum, tolerance } from './doubt.ts';

/** A weight that may be off by more of itself says nothing: then y is anything between the values that the token sees. */
const MOST = 1 / 2;

/**
 * Whatever all weights of a token are multiplied by cancels, so that it does not matter which maximum is subtracted. Of the rest, a
 * weight w = exp(c − max c) may be off by e_w of itself, and with it y by its share of the distance from the value v to y.
 *
 *   e_w = u ( 2 (p + 1) |scale| Σ|q k| + 2 |c − max c| + 8 )
 *   e_y = ( Σ w e_w |v − y| + 2 (t + 1) u ( Σ|w v| + |y| Σ w ) ) / Σ w + 6 u |y|
 *
 * The p values of a head have the same weights, and so their errors. K and V are what is given, rounded once.
 */
export const attentionBounds: Bounds = ({ q }, { dims, attrs }, expected) => {
  const { l, h, g, p, t: past } = dims;
  const { data: K } = expected.K;
  const { data: V } = expected.V;
  const scale = Math.fround(attrs.scale as number);
  const doubts: Doubt[] = [];
  for (let t = 0; t < l; t++)
    for (let i = 0; i < h; i++) {
      const count = past + t + 1;
      const at = (s: number, c: number) => (s * g + Math.floor((i * g) / h)) * p + c;
      const [scores, sizes] = [new Float64Array(count), new Float64Array(count)];
      for (let s = 0; s < count; s++)
        for (let c = 0; c < p; c++) {
          const product = scale * q[(t * h + i) * p + c] * K[at(s, c)];
          scores[s] += product;
          sizes[s] += Math.abs(product);
        }
      const most = scores.reduce((a, b) => Math.max(a, b));
      const weights = scores.map(c => Math.exp(c - most));
      const total = weights.reduce((a, b) => a + b);
      const off = Array.from(scores, (c, s) =>
        c === Number.NEGATIVE_INFINITY ? flushed(1) : ofWeight(p, sizes[s], most - c),
      );
      const worst = Math.max(...off.map(doubt => doubt.most));
      const shares = off.map((doubt, s) => {
        const share = (weights[s] * Math.exp(worst)) / total; // a sum of weights may be that much less
        return { most: share * Math.expm1(doubt.most), shared: share * doubt.shared };
      });
      for (let c = 0; c < p; c++) {
        const y = expected.y.data[(t * h + i) * p + c];
        let [ofWeights, shared, size, far] = [0, 0, 0, 0];
        for (let s = 0; s < count; s++) {
          const v = V[at(s, c)];
          const apart = Math.abs(v - y);
          ofWeights += shares[s].most * apart;
          shared += shares[s].shared * apart;
          size += (weights[s] * Math.abs(v)) / total;
          far = Math.max(far, apart);
        }
        doubts.push(
          sum(
            worst > MOST ? allOf(far) : { most: ofWeights, variance: 0, shared },
            roundings(2 * (count + 1), size),
            alike(2 * (count + 1), Math.abs(y)),
            roundings(6, Math.abs(y)),
            flushed(count * (2 + far)),
          ),
        );
      }
    }
  const formula =
    '(Σ w e_w |v − y| + 2 (t + 1) u (Σ|w v| + |y| Σ w)) / Σ w + 6 u |y|, e_w = u (2 (p + 1) |scale| Σ|q k| + 2 |c − max c| + 8)';
  return {
    y: tolerance(formula, expected.y, at => doubts[at]),
    K: copy(expected.K),
    V: copy(expected.V),
  };
};

/** Of a weight, as a part of it: its score, the distance to the maximum, and an exp of 2 ulp on either side. */
const ofWeight = (p: number, size: number, distance: number): Doubt =>
  sum(alike(2 * (p + 1), size), alike(2, distance), alike(8, 1));
