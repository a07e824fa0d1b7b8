/** The percentile range against torch.quantile in float32, bit for bit: golden/quantile. */
import { describe, expect, it } from 'vitest';
import { quantileOfAbs, rangeOver } from '../../src/quant/ranges.ts';
import { tensor } from '../../src/tensor.ts';
import { type Golden, goldenFolders, readGolden } from './files.ts';

/** `n` heavy-tailed values from `seed`: golden/README.md, "The values of a large quantile". */
function hashed(n: number, seed: number): Float32Array {
  return Float32Array.from({ length: n }, (_, i) => {
    let h = (i + seed) >>> 0;
    h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
    h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
    h ^= h >>> 16;
    const v = ((h >>> 8) - 2 ** 23) / 2 ** 23;
    return v / Math.fround(1.0009765625 - Math.abs(v));
  });
}

interface Attrs {
  readonly p: readonly number[];
  readonly n: number;
  readonly seed: number;
  readonly ema?: number;
}
const attrsOf = (golden: Golden) => golden.attrs as unknown as Attrs;
const values = (golden: Golden): Float32Array => {
  const { n, seed } = attrsOf(golden);
  return (golden.inputs.x?.data as Float32Array | undefined) ?? hashed(n, seed);
};

const goldens = goldenFolders().quantile.map(name => readGolden(`quantile/${name}`));

describe('golden/quantile', () => {
  it.each(goldens.filter(golden => attrsOf(golden).ema === undefined))('$address', golden => {
    const x = values(golden);
    const ours = attrsOf(golden).p.map(p => quantileOfAbs(x, p));
    expect(ours).toEqual([...golden.f32.y.data]);
  });

  it.each(goldens.filter(golden => attrsOf(golden).ema !== undefined))('$address', golden => {
    const { p, ema } = attrsOf(golden);
    const [samples, size] = golden.inputs.x.shape;
    const range = rangeOver({ percentile: p[0], ema: ema! });
    const ours = Array.from({ length: samples }, (_, i) => {
      range.add(tensor(values(golden).subarray(i * size, (i + 1) * size)));
      return range.value();
    });
    expect(ours).toEqual([...golden.f32.y.data]);
  });
});
