/** One channel of the scan over a text, token by token, by the real op. */
import { ops, type Tensor } from 'quamba';
import { decaysOf, type Sample, stepsOf } from './sample.ts';

export interface Channel {
  readonly u: Float32Array;
  readonly dt: Float32Array;
  /** A, one for each state. */
  readonly A: Float32Array;
  /** One vector for each token. */
  readonly B: readonly Float32Array[];
  readonly C: readonly Float32Array[];
  readonly D: Float32Array;
}

/** A channel's first `length` tokens; `factor` multiplies the Δ of each. */
export function channelOf(
  sample: Sample,
  channel: number,
  length: number,
  factor: (t: number) => number,
): Channel {
  const { u, B, C, D } = sample;
  const [, d] = u.shape;
  const rows = ({ shape: [, n], data }: Tensor<'f32'>) =>
    Array.from({ length }, (_, t) => data.slice(t * n, (t + 1) * n));
  return {
    u: Float32Array.from({ length }, (_, t) => u.data[t * d + channel]),
    dt: stepsOf(sample, length, channel, channel + 1).data.map((value, t) => value * factor(t)),
    A: decaysOf(sample, channel, channel + 1).data,
    B: rows(B),
    C: rows(C),
    D: D.data.slice(channel, channel + 1),
  };
}

export interface Course {
  readonly y: Float32Array;
  /** h before the first token and after each. */
  readonly states: readonly Float32Array[];
}

/** A step is a scan of one token from the state that the one before left: the same bits as all at once. */
export function courseOf({ u, dt, A, B, C, D }: Channel): Course {
  const n = A.length;
  const states: Float32Array[] = [new Float32Array(n)];
  const y = u.map((value, t) => {
    const step = ops.selectiveScan({
      u: Float32Array.of(value),
      dt: dt.slice(t, t + 1),
      A: { dtype: 'f32', shape: [1, n], data: A },
      B: B[t],
      C: C[t],
      D,
      h: { dtype: 'f32', shape: [1, n], data: states[t] },
    });
    states.push(step.h.data);
    return step.y.data[0];
  });
  return { y, states };
}

/** What token `t` alone adds to y, now and later: the scan is linear in u. */
export const shareOf = (channel: Channel, t: number): Float32Array =>
  courseOf({ ...channel, u: channel.u.map((value, i) => (i === t ? value : 0)) }).y;
