/** Bugs of states, which are carried from token to token and from call to call. */
import type { AnyOp, Dims } from '../../op.ts';
import { causalConv1d } from '../../ops/causal-conv1d.ts';
import { selectiveScan } from '../../ops/selective-scan.ts';
import type { AnyKernel } from '../../run.ts';
import { tensor, zeros } from '../../tensor.ts';
import { tokensOf } from '../named.ts';
import { type Broken, inKernel, mistaken, reversed } from './row.ts';

/** How many tokens the tile of a kernel holds. */
const TILE = 128;

/** A scan that starts a text with the state that the last text left. */
function remembering(): Broken {
  const left = new Map<string, Float32Array>();
  return inKernel(
    'scan-remembers',
    'At the start of a text the scan goes on from what the last call of its size left.',
    selectiveScan,
    (inputs, attrs, outputs, dims, { h }) => {
      const key = `${dims.d} ${dims.n}`;
      const before = left.get(key);
      if (before && h.data.every(value => value === 0)) h.put(0, before);
      selectiveScan.reference(inputs, attrs, outputs, dims, { h });
      left.set(key, h.data.slice());
    },
  );
}

/** A kernel whose states start from zeros again after every tile. */
export const forgetful =
  (op: AnyOp, tile = TILE): AnyKernel =>
  (inputs, attrs, outputs, dims, states) => {
    for (let t = 0; t < dims.l; t += tile) {
      const size = Math.min(tile, dims.l - t);
      if (t > 0) for (const state of Object.values(states)) state.put(0, new Float32Array(state.data.length));
      const given = tokensOf(op.inputs, inputs, t, size);
      op.reference(given, attrs, tokensOf(op.outputs, outputs, t, size), { ...dims, l: size }, states);
    }
  };

/** The window of each channel backwards. */
const turned = (past: Float32Array, { d, k }: Dims): Float32Array => reversed(tensor(past, [d, k - 1])).data;

/* biome-ignore format: rows of a name, a sentence, and how it is done */
export const stateBugs: readonly Broken[] = [
  mistaken('conv-state-ignored', 'The window starts with zeros, whatever state is given.',
    causalConv1d, { before: past => new Float32Array(past.length) }),
  mistaken('conv-state-one-off', 'The state after the tokens lacks the last of them.',
    causalConv1d, { after: (past, { k }) => past.map((x, i) => (i % (k - 1) === 0 ? x : past[i - 1])) }),
  mistaken('conv-state-newest-first', 'The state is kept with the newest input first.',
    causalConv1d, { before: turned, after: turned }),
  mistaken('conv-state-of-tokens-only',
    'With fewer tokens than k − 1 the state is filled up with zeros, not with what came before.',
    causalConv1d, { after: (past, { k, l }) => past.map((x, i) => (i % (k - 1) < k - 1 - l ? 0 : x)) }),
  inKernel('conv-forgets-at-a-tile', `Every ${TILE} tokens the window starts with zeros again.`,
    causalConv1d, (inputs, attrs, { y }, dims, { past }) => {
      const before = past.data.slice();
      forgetful(causalConv1d)(inputs, attrs, { y }, dims, { past });
      past.put(0, before);
      causalConv1d.reference(inputs, attrs, { y: zeros('f32', y.shape) }, dims, { past });
    }),
  inKernel('scan-forgets-at-a-tile', `Every ${TILE} tokens h starts from zeros again.`,
    selectiveScan, forgetful(selectiveScan)),
  {
    ...remembering(),
    /** A new one each time that it is asked for, since such a backend remembers its calls. */
    get backend() {
      return remembering().backend;
    },
  },
];
