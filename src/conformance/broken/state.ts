/** Bugs of states, which are carried from token to token and from call to call. */
import { causalConv1d } from '../../ops/causal-conv1d.ts';
import { selectiveScan } from '../../ops/selective-scan.ts';
import type { StateView } from '../../state.ts';
import { type Tensor, zeros } from '../../tensor.ts';
import { type Broken, inKernel } from './row.ts';

/** How many tokens the tile of a kernel holds. */
const TILE = 128;

type Float = Tensor<'f32'>;

/** What a state is in place of what it is. */
const putAll = (state: StateView, values: Float32Array): void => state.put(0, values);

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
      if (before && h.data.every(value => value === 0)) putAll(h, before);
      selectiveScan.reference(inputs, attrs, outputs, dims, { h });
      left.set(key, h.data.slice());
    },
  );
}
/** Makes a new backend each time that it is asked for, since such a backend remembers its calls. */
const fresh = (make: () => Broken): Broken => ({
  ...make(),
  get backend() {
    return make().backend;
  },
});

/** The rows `t` to `t + size` of what has a row for each token. */
const part = (of: Float, t: number, size: number): Float => {
  const width = of.shape[1];
  return { ...of, shape: [size, width], data: of.data.subarray(t * width, (t + size) * width) };
};

/* biome-ignore format: rows of a name, a sentence, and how it is done */
export const stateBugs: readonly Broken[] = [
  inKernel('conv-state-ignored', 'The window starts with zeros, whatever state is given.',
    causalConv1d, (inputs, attrs, outputs, dims, { past }) => {
      putAll(past, new Float32Array(past.data.length));
      causalConv1d.reference(inputs, attrs, outputs, dims, { past });
    }),
  inKernel('conv-state-one-off', 'The state after the tokens lacks the last of them.',
    causalConv1d, (inputs, attrs, outputs, dims, { past }) => {
      causalConv1d.reference(inputs, attrs, outputs, dims, { past });
      const late = past.data.slice();
      const width = dims.k - 1;
      for (let c = 0; c < dims.d; c++) late.copyWithin(c * width + 1, c * width, (c + 1) * width - 1);
      putAll(past, late);
    }),
  inKernel('conv-state-newest-first', 'The state is kept with the newest input first.',
    causalConv1d, (inputs, attrs, outputs, dims, { past }) => {
      const turn = () => {
        const data = past.data.slice();
        const width = dims.k - 1;
        for (let c = 0; c < dims.d; c++) data.subarray(c * width, (c + 1) * width).reverse();
        putAll(past, data);
      };
      turn();
      causalConv1d.reference(inputs, attrs, outputs, dims, { past });
      turn();
    }),
  inKernel('conv-state-of-tokens-only',
    'With fewer tokens than k − 1 the state is filled up with zeros, not with what came before.',
    causalConv1d, (inputs, attrs, outputs, dims, { past }) => {
      causalConv1d.reference(inputs, attrs, outputs, dims, { past });
      const width = dims.k - 1;
      putAll(
        past,
        past.data.map((x, i) => (i % width < width - dims.l ? 0 : x)),
      );
    }),
  inKernel('conv-forgets-at-a-tile', `Every ${TILE} tokens the window starts with zeros again.`,
    causalConv1d, (inputs, attrs, { y }, dims, { past }) => {
      const before = past.data.slice();
      for (let t = 0; t < dims.l; t += TILE) {
        const size = Math.min(TILE, dims.l - t);
        if (t > 0) putAll(past, new Float32Array(past.data.length));
        const given = { ...inputs, x: part(inputs.x, t, size) };
        causalConv1d.reference(given, attrs, { y: part(y, t, size) }, { ...dims, l: size }, { past });
      }
      putAll(past, before);
      causalConv1d.reference(inputs, attrs, { y: zeros('f32', y.shape) }, dims, { past });
    }),
  inKernel('scan-forgets-at-a-tile', `Every ${TILE} tokens h starts from zeros again.`,
    selectiveScan, (inputs, attrs, { y }, dims, { h }) => {
      const { u, dt, B, C, z } = inputs;
      for (let t = 0; t < dims.l; t += TILE) {
        const size = Math.min(TILE, dims.l - t);
        if (t > 0) putAll(h, new Float32Array(h.data.length));
        const given = {
          ...inputs,
          u: part(u, t, size),
          dt: part(dt, t, size),
          B: part(B, t, size),
          C: part(C, t, size),
          ...(z && { z: part(z, t, size) }),
        };
        selectiveScan.reference(given, attrs, { y: part(y, t, size) }, { ...dims, l: size }, { h });
      }
    }),
  fresh(remembering),
];
