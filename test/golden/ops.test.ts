/** The reference against PyTorch, on every case of golden/ (ring 1). */
import { describe, expect, it } from 'vitest';
import type { AnyOp } from '../../src/op.ts';
import { ops } from '../../src/ops/index.ts';
import type { Tensor } from '../../src/tensor.ts';
import { type Golden, goldenFolders, manifest, readGolden, sha256 } from './files.ts';
import { bound, faults, ulp } from './rule.ts';

/** Goldens of what is no op; each has a test of its own. */
const NO_OPS = ['evaluation', 'model', 'quantile', 'real-ranges'];

const folders = goldenFolders();
const byName = new Map<string, AnyOp>(Object.values(ops).map(op => [op.name, op]));
const run = (name: string, { inputs, attrs, kept }: Golden) =>
  byName.get(name)!(inputs, attrs, kept) as Record<string, Tensor>;

describe('golden', () => {
  it('holds the files of its manifest, unchanged', () => {
    const found = Object.entries(folders).flatMap(([name, cases]) =>
      cases.map(c => `${name}/${c}.safetensors`),
    );
    const listed = Object.entries(manifest().files).map(([path, { sha256: sum }]) => `${path} ${sum}`);
    expect(found.map(path => `${path} ${sha256(path)}`).sort()).toEqual(listed.sort());
  });

  it('has a folder for every op, and an op for every folder', () => {
    const wanted = [...byName.keys()].sort();
    expect(
      Object.keys(folders)
        .filter(name => !NO_OPS.includes(name))
        .sort(),
    ).toEqual(wanted);
  });

  for (const [name, cases] of Object.entries(folders)) {
    if (!byName.has(name)) continue;
    it.each(cases)(`golden/${name}/%s`, address => {
      const golden = readGolden(`${name}/${address}`);
      expect(faults(golden, run(name, golden))).toEqual([]);
    });
  }
});

describe('the rule', () => {
  it('an ulp is the distance to the next float32', () => {
    expect(ulp(1)).toBe(2 ** -23);
    expect(ulp(-1.99)).toBe(2 ** -23);
    expect(ulp(2)).toBe(2 ** -22);
    expect(ulp(0)).toBe(2 ** -149);
  });

  it('twice the error of PyTorch, and an ulp of the largest value', () => {
    expect(bound([1, 4.5], [1.25, 4])).toBe(2 * 0.5 + 2 ** -21);
  });

  it.each([...byName.keys()])('sees one wrong value in every case of %s', name => {
    for (const address of folders[name]) {
      const golden = readGolden(`${name}/${address}`);
      const right = run(name, golden);
      for (const [output, { data }] of Object.entries(right)) {
        if (data.length === 0) continue;
        const wrong = data.slice();
        const i = data.length >> 1;
        wrong[i] += step(golden, output, data[i]);
        const outputs = { ...right, [output]: { ...right[output], data: wrong } } as Record<string, Tensor>;
        expect(faults(golden, outputs), `${address} ${output}`).not.toEqual([]);
      }
    }
  });
});

/** A change to a right value x that the rule must see: the smallest, or three bounds. */
function step(golden: Golden, output: string, x: number): number {
  if (output in golden.out) return x === 127 ? -1 : 1;
  return golden.exact(output) ? ulp(x) : 3 * bound(golden.f32[output].data, golden.f64[output].data);
}
