/** What the lessons compute and how they write it. */
import { readdirSync, readFileSync } from 'node:fs';
import { ops } from 'quamba';
import { describe, expect, it } from 'vitest';
import { clipErrors } from '../../web/src/lessons/clip-errors.ts';
import { cut } from '../../web/src/lessons/cut.ts';
import { highlighted } from '../../web/src/lessons/highlight.ts';
import { linearInt8, scaleOf, throughInt8 } from '../../web/src/lessons/int8.ts';
import { pooled } from '../../web/src/matrix.ts';
import { channelMost, histogram, relativeError, rounding, shapeOf } from '../../web/src/measures.ts';
import { number, percent, quoted } from '../../web/src/numbers.ts';

const matrix = (rows: number, columns: number) =>
  ({
    dtype: 'f32',
    shape: [rows, columns],
    data: Float32Array.from({ length: rows * columns }, (_, i) => i),
  }) as const;
const values = Float32Array.from({ length: 4096 }, (_, i) => Math.sin(i * i) * (i % 97 === 0 ? 10 : 1));

describe('a part of a matrix', () => {
  it('is all of it, where nothing is said', () => expect(cut(matrix(3, 4))).toEqual(matrix(3, 4)));
  it('is rows from the first, so many and so far apart, and columns', () => {
    const { shape, data } = cut(matrix(7, 4), { first: 1, step: 2, begin: 1, end: 3 });
    expect({ shape, data: [...data] }).toEqual({ shape: [3, 2], data: [5, 6, 13, 14, 21, 22] });
    expect([...cut(matrix(7, 4), { first: 6, rows: 1 }).data]).toEqual([24, 25, 26, 27]);
  });
});

describe('a heat map in fewer columns', () => {
  it('keeps of each place the value furthest from 0', () => {
    const x = [1, -3, 2, 0.5, 0, 0, 4, -4.5, -1, 1, 0, 2];
    expect([...pooled({ values: x, rows: 2, columns: 6 }, 3).values]).toEqual(
      [-3, 2, 0, -4.5, 1, 2].map((v, i) => (i === 4 ? -1 : v)),
    );
  });
  it('changes nothing where there is room, and reads by strides', () => {
    const { columns, values: same } = pooled(
      { values: matrix(3, 2).data, rows: 2, columns: 3, rowStride: 1, columnStride: 2 },
      100,
    );
    expect({ columns, same: [...same] }).toEqual({ columns: 3, same: [0, 2, 4, 1, 3, 5] });
  });
});

describe('a source, highlighted', () => {
  const kinds = (source: string) =>
    highlighted(source)
      .filter(({ kind }) => kind)
      .map(({ kind, text }) => [kind, text]);
  it('tells comments, strings, words and numbers apart', () => {
    expect(kinds("const a = 'for 1'; // let 2\n/* if */ a1 + 1e-5")).toEqual([
      ['keyword', 'const'],
      ['string', "'for 1'"],
      ['comment', '// let 2'],
      ['comment', '/* if */'],
      ['digits', '1e-5'],
    ]);
  });
  it('loses no character of any op', () => {
    for (const name of readdirSync('src/ops').filter(name => name.endsWith('.ts'))) {
      const source = readFileSync(`src/ops/${name}`, 'utf8');
      expect(
        highlighted(source)
          .map(({ text }) => text)
          .join(''),
        name,
      ).toBe(source);
    }
  });
});

describe('measures', () => {
  it('clipping and rounding are parts of one error, as squares', () => {
    const { total, clipping, rounding: rounded, clipped, range } = clipErrors(values, 0.999);
    expect(total ** 2).toBeCloseTo(clipping ** 2 + rounded ** 2, 12);
    const x = { dtype: 'f32', shape: [1, values.length], data: values } as const;
    const scale = { dtype: 'f32', shape: [1], data: Float32Array.of(range / 127) } as const;
    expect(total).toBeCloseTo(relativeError(throughInt8(x, scale).data, values), 12);
    expect(clipped).toBe(values.filter(v => Math.abs(v) > range).length);
    expect(clipped).toBeGreaterThan(0);
    expect(clipErrors(values, 1)).toMatchObject({ clipped: 0, clipping: 0 });
  });

  it('rounding has the values that the ops have', () => {
    const x = { dtype: 'f32', shape: [1, values.length], data: values } as const;
    const scale = scaleOf(x);
    const rounded = rounding(values, scale.data, 'static');
    const error = relativeError(throughInt8(x).data, values);
    expect(rounded.snr).toBeCloseTo(-20 * Math.log10(error), 9);
    const { q } = ops.quantize({ x, scale: scale.data });
    expect(rounded).toMatchObject({ clipped: 0, zeros: q.data.filter(v => v === 0).length / values.length });
    expect(rounded.levels).toBe(new Set(q.data).size);
    expect(rounding(Float32Array.of(1, 300, -300, 0.2), Float32Array.of(1), 'static').clipped).toBe(0.5);
  });

  it('a histogram has every value that it reaches', () => {
    const { counts, from, to } = histogram(Float32Array.of(-2, -1.9, 0.1, 2, 2.1), 2, 4);
    expect({ counts, from, to }).toEqual({ counts: [2, 0, 1, 1], from: -2, to: 2 });
  });

  it('channels and spread', () => {
    expect(channelMost(Float32Array.of(1, -5, 2, 3, 4, -2), 3)).toEqual([3, 5, 2]);
    expect(shapeOf(Float32Array.of(1, -1, 1, -1))).toMatchObject({ max: 1, rms: 1, kurtosis: 1 });
  });

  it('a linear in int8 is near the float one', () => {
    const x = { dtype: 'f32', shape: [4, 64], data: values.slice(1, 257) } as const;
    const w = { dtype: 'f32', shape: [8, 64], data: values.slice(300, 812) } as const;
    const error = relativeError(linearInt8(x, w).data, ops.linear({ x, w }).y.data);
    expect(error).toBeGreaterThan(0);
    expect(error).toBeLessThan(0.2);
  });
});

it('numbers are written for people', () => {
  expect([0, 1.23456, -0.5, 0.00012, -1234.6, 0.0000123].map(v => number(v))).toEqual([
    '0',
    '1.23',
    '−0.5',
    '0.00012',
    '−1,235',
    '1.2·10⁻⁵',
  ]);
  expect(percent(0.1234)).toBe('12 %');
  expect(['word', ' a ', '\n', ' ', ''].map(quoted)).toEqual([
    '“word”',
    '“a”',
    'a new line',
    'a space',
    'a part of a character',
  ]);
});
