/** The examples in the ops' comments give what they say. */
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import type { AnyOp } from '../../src/op.ts';
import { ops } from '../../src/ops/index.ts';
import { parse } from '../../src/signature.ts';
import type { DataOf, Tensor } from '../../src/tensor.ts';

type Nested = readonly (number | Nested)[];
const ARRAYS = { f32: Float32Array, i8: Int8Array, i32: Int32Array } as const;

/** `[[1, 2]]` as a tensor, `[1, 2]` as a plain array, whose shape the op's signature gives. */
function input(signature: string, values: Nested): Tensor | DataOf[keyof DataOf] {
  const { dtype } = parse(signature);
  const data = ARRAYS[dtype].from(values.flat(2) as number[]);
  const inner = values[0];
  return Array.isArray(inner) ? ({ dtype, shape: [values.length, inner.length], data } as Tensor) : data;
}

/** `add({ x: [1] }, { … }).sum = [2]`, by name of the op. */
const EXAMPLE = /^ \* (?: {9}|Example {2})(\w+)\((\{.*?\})(?:, (\{.*\}))?\)\.(\w+) = (\[.*\])/gm;

describe.each(Object.entries(ops))('%s', (name, op) => {
  const text = readFileSync(new URL(`../../src/ops/${op.name}.ts`, import.meta.url), 'utf8');
  const examples = [...text.matchAll(EXAMPLE)];
  it('has one', () => expect(examples.length).toBeGreaterThan(0));

  it.each(examples.map(([, ...parts]) => parts))(
    '%s(%s, %s).%s = %s',
    (called, given, attrs, key, result) => {
      expect(called).toBe(name);
      const value = <T>(source: string): T => new Function(`return (${source})`)();
      const inputs = Object.entries(value<Record<string, Nested>>(given)).map(
        ([input_, values]) =>
          [input_, input({ ...(op as AnyOp).inputs, ...(op as AnyOp).states }[input_], values)] as const,
      );
      const outputs = (op as AnyOp)(Object.fromEntries(inputs), attrs ? value(attrs) : {});
      const expected = value<Nested>(result).flat(2) as number[];
      const got = Array.from((outputs as Record<string, Tensor>)[key].data);
      expect(got).toHaveLength(expected.length);
      for (const [i, x] of expected.entries())
        expect(Math.abs(got[i] - x)).toBeLessThanOrEqual(5e-6 * Math.abs(x)); // they are written with six digits
    },
  );
});
