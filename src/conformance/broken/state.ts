/** Bugs of what is carried from token to token and from call to call. */
import { causalConv1d } from '../../ops/causal-conv1d.ts';
import { selectiveScan } from '../../ops/selective-scan.ts';
import { type Tensor, zeros } from '../../tensor.ts';
import { type Broken, inKernel } from './row.ts';

/** After how many tokens a kernel that works in tiles begins a new one. */
const TILE = 128;

type Float = Tensor<'f32'>;

/** The state of a convolution, its window moved so that the newest input is dropped and the oldest doubled. */
function late(state: Float): Float {
  const [d, past] = state.shape;
  const data = state.data.slice();
  for (let c = 0; c < d; c++) data.copyWithin(c * past + 1, c * past, (c + 1) * past - 1);
  return { ...state, data };
}

/** A scan that begins with what the last one left where it is given no state. */
function remembering(): Broken {
  const left = new Map<string, Float>();
  return inKernel(
    'scan-remembers',
    'Without a state the scan starts from what the last call of its size left.',
    selectiveScan,
    (inputs, attrs, outputs, dims) => {
      const key = `${dims.d} ${dims.n}`;
      const state = inputs.state ?? left.get(key) ?? zeros('f32', [dims.d, dims.n]);
      selectiveScan.reference({ ...inputs, state }, attrs, outputs, dims);
      left.set(key, { ...outputs.state, data: outputs.state.data.slice() });
    },
  );
}
/** Each asking for its backend is given one that has seen nothing yet. */
const fresh = (make: () => Broken): Broken => ({
  ...make(),
  get backend() {
    return make().backend;
  },
});

export const stateBugs: readonly Broken[] = [
  inKernel(
    'conv-state-ignored',
    'The window starts with zeros, whatever state is given.',
    causalConv1d,
    ({ state: _, ...inputs }, ...rest) => causalConv1d.reference(inputs, ...rest),
  ),
  inKernel(
    'conv-state-one-off',
    'The state after the tokens lacks the last of them.',
    causalConv1d,
    (inputs, attrs, outputs, dims) => {
      causalConv1d.reference(inputs, attrs, outputs, dims);
      if (dims.k > 1) outputs.state.data.set(late(outputs.state).data);
    },
  ),
  inKernel(
    'conv-state-newest-first',
    'The state is kept with the newest input first.',
    causalConv1d,
    (inputs, attrs, outputs, dims) => {
      const backwards = (state: Float): Float => {
        const data = state.data.slice();
        const past = dims.k - 1;
        for (let c = 0; c < dims.d; c++) data.subarray(c * past, (c + 1) * past).reverse();
        return { ...state, data };
      };
      const { state, ...rest } = inputs;
      causalConv1d.reference(state ? { ...rest, state: backwards(state) } : rest, attrs, outputs, dims);
      outputs.state.data.set(backwards(outputs.state).data);
    },
  ),
  inKernel(
    'conv-state-of-tokens-only',
    'With fewer tokens than k − 1 the state is filled up with zeros, not with what came before.',
    causalConv1d,
    (inputs, attrs, outputs, dims) => {
      causalConv1d.reference(inputs, attrs, outputs, dims);
      const past = dims.k - 1;
      for (let i = 0; i < outputs.state.data.length; i++)
        if (i % past < past - dims.l) outputs.state.data[i] = 0;
    },
  ),
  inKernel(
    'conv-forgets-at-a-tile',
    `Every ${TILE} tokens the window starts with zeros again.`,
    causalConv1d,
    (inputs, attrs, { y, state }, dims) => {
      const { x, w, b, state: before } = inputs;
      const { l, d } = dims;
      for (let t = 0; t < l; t += TILE) {
        const size = Math.min(TILE, l - t);
        const part = (of: Float): Float => ({
          ...of,
          shape: [size, d],
          data: of.data.subarray(t * d, (t + size) * d),
        });
        const given = { x: part(x), w, ...(b && { b }), ...(t === 0 && before && { state: before }) };
        causalConv1d.reference(given, attrs, { y: part(y), state }, { ...dims, l: size });
      }
      causalConv1d.reference(inputs, attrs, { y: zeros('f32', y.shape), state }, dims);
    },
  ),
  inKernel(
    'scan-forgets-at-a-tile',
    `Every ${TILE} tokens h starts from zeros again.`,
    selectiveScan,
    (inputs, attrs, { y, state }, dims) => {
      const { A, D, z, state: before, ...perToken } = inputs;
      for (let t = 0; t < dims.l; t += TILE) {
        const size = Math.min(TILE, dims.l - t);
        const part = (of: Float): Float => {
          const width = of.shape[1];
          return { ...of, shape: [size, width], data: of.data.subarray(t * width, (t + size) * width) };
        };
        const { u, dt, B, C } = perToken;
        selectiveScan.reference(
          {
            u: part(u),
            dt: part(dt),
            A,
            B: part(B),
            C: part(C),
            ...(D && { D }),
            ...(z && { z: part(z) }),
            ...(t === 0 && before && { state: before }),
          },
          attrs,
          { y: part(y), state },
          { ...dims, l: size },
        );
      }
    },
  ),
  fresh(remembering),
];
