/** Bugs that show from some size on, as those of a buffer, a tile or a counter that is too small. */
import { factor } from '../../ops/hadamard.ts';
import { ops } from '../../ops/index.ts';
import type { Tensor } from '../../tensor.ts';
import { normingInOneLane } from './accumulation.ts';
import { type Broken, inKernel, mapped, mistaken, reversed } from './row.ts';
import { forgetful } from './state.ts';

const { causalConv1d, embedding, fwht, linearI8, rmsNorm, selectiveScan } = ops;

/** How many channels, states, outputs, tokens … a kernel has room for. */
const ROOM = {
  norm: 768,
  lanes: 1024,
  conv: 128,
  run: 128,
  outputs: 64,
  tokens: 256,
  odd: 1000,
  states: 32,
  scan: 1024,
};

/** Each run of `size` elements in the order of its reversed bits: a transform of it takes its strides from the longest on. */
function bitsReversed<T extends Tensor>(x: T, size: number): T {
  const bits = Math.log2(size);
  const from = (c: number) => {
    let back = 0;
    for (let bit = 0; bit < bits; bit++) back |= ((c >> bit) & 1) << (bits - 1 - bit);
    return back;
  };
  return mapped(x, (_, i) => x.data[i - (i % size) + from(i % size)]);
}

/* biome-ignore format: rows of a name, a sentence, and how it is done */
const bugs: readonly Broken[] = [
  inKernel('rms-norm-in-pieces', `A row is normed in pieces of ${ROOM.norm}, each by its own mean.`,
    rmsNorm, ({ x, w }, attrs, { y }, { l, m }) => {
      for (let at = 0; at < l * m; at = Math.min(at + ROOM.norm, at - (at % m) + m)) {
        const size = Math.min(ROOM.norm, m - (at % m));
        const part = (t: Tensor<'f32'>, from: number) => ({ ...t, data: t.data.subarray(from, from + size) });
        const given = { x: part(x, at), w: w && part(w, at % m) };
        rmsNorm.reference(given, attrs, { y: part(y, at) }, { l: 1, m: size });
      }
    }),
  inKernel('rms-norm-long-in-one-lane', `Of a row of more than ${ROOM.lanes} the squares are one ascending sum.`,
    rmsNorm, (inputs, attrs, outputs, dims) =>
      (dims.m > ROOM.lanes ? normingInOneLane : rmsNorm.reference)(inputs, attrs, outputs, dims)),
  mistaken('conv-wide-flipped', `With more than ${ROOM.conv} channels the taps run backwards.`,
    causalConv1d, { inputs: ({ w }, { d }) => (d > ROOM.conv ? { w: reversed(w) } : {}) }),
  inKernel('fwht-long-runs', `In runs of more than ${ROOM.run} the strides go down, not up.`,
    fwht, ({ x }, attrs, { y }, dims) => {
      const { run } = factor(dims.n)!;
      if (run <= ROOM.run) return fwht.reference({ x }, attrs, { y }, dims);
      fwht.reference({ x: bitsReversed(x, run) }, attrs, { y }, dims);
      y.data.set(bitsReversed(y, run).data);
    }),
  mistaken('linear-i8-bias-of-64', `Of more than ${ROOM.outputs} outputs, those after the first ${ROOM.outputs} have their bias again.`,
    linearI8, { inputs: ({ b }) => ({ b: b && mapped(b, (_, row) => b.data[row % ROOM.outputs]) }) }),
  mistaken('linear-i8-scale-of-256', `Tokens after the first ${ROOM.tokens} have the scales of those.`,
    linearI8, { inputs: ({ xscale }) => ({ xscale: mapped(xscale, (_, t) => xscale.data[t % ROOM.tokens]) }) }),
  mistaken('linear-i8-odd-tail', `Of an odd number of outputs over ${ROOM.odd.toLocaleString('en')} the last is left at 0.`,
    linearI8, { output: (y, at, _, { o }) => (o > ROOM.odd && o % 2 && at % o === o - 1 ? 0 : y) }),
  mistaken('scan-of-32-states', `What comes in reaches the first ${ROOM.states} states alone.`,
    selectiveScan, { inputs: ({ B }, { n }) => ({ B: mapped(B, (b, i) => (i % n < ROOM.states ? b : 0)) }) }),
  inKernel('scan-forgets-after-1024', `Every ${ROOM.scan.toLocaleString('en')} tokens of a call h starts from zeros again.`,
    selectiveScan, forgetful(selectiveScan, ROOM.scan)),
  mistaken('embedding-int16', 'Tokens are int16: those from 32,768 on are taken for earlier ones.',
    embedding, { inputs: ({ tokens }) => ({ tokens: mapped(tokens, token => token & 0x7fff) }) }),
];
export const sizeBugs: readonly Broken[] = bugs.map(bug => ({ ...bug, fromSomeSize: true }));
