/** Real values with one channel made larger, and what int8 leaves of all the others: as they are, and behind the scan. */
import { ops, type Tensor } from 'quamba';
import { relativeError } from '../measures.ts';
import { cut } from './cut.ts';
import { scaleOf, throughInt8 } from './int8.ts';
import { decaysOf, type Sample, stepsOf } from './sample.ts';

type F32 = Tensor<'f32'>;
export const ROWS = 8;
export const CHANNELS = 128;

export interface Planted {
  /** The channel that is made larger: it has the largest value. */
  readonly channel: number;
  readonly at: (factor: number) => Outcome;
}
export interface Outcome {
  readonly u: F32;
  readonly rounded: F32;
  readonly step: number;
  readonly max: number;
  /** Relative, of all other channels. */
  readonly error: number;
  readonly errorOfY: number;
}

export function plantedIn(sample: Sample): Planted {
  const part = (x: F32, end = CHANNELS) => cut(x, { rows: ROWS, end });
  const u = part(sample.u);
  const [B, C] = [part(sample.B, 16), part(sample.C, 16)];
  const A = decaysOf(sample, 0, CHANNELS);
  const D = sample.D.data.slice(0, CHANNELS);
  const dt = stepsOf(sample, ROWS, 0, CHANNELS);
  const y = (input: F32) => ops.selectiveScan({ u: input, dt, A, B, C, D }).y;
  const channel =
    u.data.reduce((best, v, i) => (Math.abs(v) > Math.abs(u.data[best]) ? i : best), 0) % CHANNELS;
  const isOther = (i: number) => i % CHANNELS !== channel;
  return {
    channel,
    at(factor) {
      const larger = { ...u, data: u.data.map((v, i) => (isOther(i) ? v : v * factor)) };
      const rounded = throughInt8(larger);
      const step = scaleOf(larger).data[0];
      return {
        ...{ u: larger, rounded, step, max: 127 * step },
        error: relativeError(rounded.data, larger.data, isOther),
        errorOfY: relativeError(y(rounded).data, y(larger).data, isOther),
      };
    },
  };
}
