/** GGUF: the container and its number formats, by a reader of the tests' own. */
import { f16round, setFloat16 } from '@petamoriken/float16';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Gguf, type GgufTensor, type GgufValue, writeGguf } from '../../src/gguf/file.ts';
import { encode, type GgmlType, ggmlBytes, toF16 } from '../../src/gguf/ggml.ts';
import { concat, thrown } from '../formats/file.ts';
import { noise, random } from '../toy.ts';
import { readGguf, valuesOf } from './reader.ts';

const write = (gguf: Partial<Gguf>) => concat(writeGguf({ metadata: {}, tensors: {}, ...gguf }));
const encoded = (type: GgmlType, data: Float32Array) => concat(encode(type, data, 'tensor "x"'));
/** The numbers that stand for the types in a file. */
const TYPES = { F32: 0, F16: 1, Q8_0: 8 } as const;

describe('the container', () => {
  const text = fc.string({ unit: 'grapheme' });
  const value: fc.Arbitrary<GgufValue> = fc.oneof(
    fc.tuple(fc.constant('u32' as const), fc.nat({ max: 2 ** 32 - 1 })),
    fc.tuple(fc.constant('f32' as const), fc.float({ noNaN: true })),
    fc.tuple(fc.constant('bool' as const), fc.boolean()),
    fc.tuple(fc.constant('string' as const), text),
    fc.tuple(fc.constant('i32[]' as const), fc.array(fc.integer())),
    fc.tuple(fc.constant('string[]' as const), fc.array(text)),
  );
  const NUMBERS = {
    u32: 4,
    f32: 6,
    bool: 7,
    string: 8,
    'i32[]': [9, 5],
    'string[]': [9, 8],
  } as const;
  const tensor: fc.Arbitrary<GgufTensor> = fc
    .record({
      type: fc.constantFrom<GgmlType>('F32', 'F16', 'Q8_0'),
      outer: fc.array(fc.integer({ min: 1, max: 3 }), { maxLength: 3 }),
      inner: fc.integer({ min: 1, max: 3 }),
      seed: fc.integer(),
    })
    .map(({ type, outer, inner, seed }) => {
      const shape = [...outer, type === 'Q8_0' ? 32 * inner : inner];
      return {
        type,
        shape,
        data: noise(
          shape.reduce((a, b) => a * b),
          random(seed),
        ),
      };
    });
  const name = fc.string({ minLength: 1, maxLength: 15, unit: 'grapheme-ascii' });

  it('gives back every key and tensor, in its order, aligned to 32', () =>
    fc.assert(
      fc.property(fc.dictionary(name, value), fc.dictionary(name, tensor), (metadata, tensors) => {
        const file = write({ metadata, tensors });
        const read = readGguf(file);
        expect(read.version).toBe(3);
        expect([...read.metadata]).toEqual(
          Object.entries(metadata).map(([key, [type, item]]) => [key, [NUMBERS[type], item]]),
        );
        expect([...read.tensors.keys()]).toEqual(Object.keys(tensors));
        for (const [key, { type, shape, data }] of Object.entries(tensors)) {
          const found = read.tensors.get(key)!;
          expect(found.begin % 32).toBe(0);
          expect(found.type).toBe(TYPES[type]);
          expect(found.extents).toEqual(shape.toReversed());
          expect(found.bytes).toEqual(encoded(type, data));
        }
        expect(read.end).toBe(file.length);
      }),
      { numRuns: 300 },
    ));

  it('holds a vocabulary', () => {
    const words = Array.from({ length: 50_000 }, (_, i) => `word ${i}`);
    const read = readGguf(write({ metadata: { first: ['u32', 7], words: ['string[]', words] } }));
    expect([...read.metadata.values()]).toEqual([
      [4, 7],
      [[9, 8], words],
    ]);
  });

  it('asks for a tensor when its turn comes, and once', () => {
    const asked: string[] = [];
    const one = (name: string): GgufTensor => ({
      type: 'F32',
      shape: [2],
      get data() {
        asked.push(name);
        return Float32Array.of(1, 2);
      },
    });
    const heard: unknown[] = [];
    const tensors = { a: one('a'), b: one('b') };
    const pieces = writeGguf({ metadata: {}, tensors }, (...said) => heard.push(said))[Symbol.iterator]();
    pieces.next();
    expect(asked).toEqual([]);
    pieces.next();
    expect(asked).toEqual(['a']);
    while (!pieces.next().done);
    expect(asked).toEqual(['a', 'b']);
    expect(heard).toEqual([
      [1, 2],
      [2, 2],
    ]);
  });

  const data = new Float32Array(32);
  it.each<[RegExp, string, GgufTensor]>([
    [/tensor "": name expected 1 to 63 bytes; got 0/, '', { type: 'F32', shape: [32], data }],
    [/name expected 1 to 63 bytes; got 64/, 'é'.repeat(32), { type: 'F32', shape: [32], data }],
    [/"a": shape expected 1 to 4 positive sizes; got \[\]/, 'a', { type: 'F32', shape: [], data }],
    [/"a": shape expected .*; got \[1, 1, 1, 1, 32\]/, 'a', { type: 'F32', shape: [1, 1, 1, 1, 32], data }],
    [/"a": shape expected .*; got \[0\]/, 'a', { type: 'F32', shape: [0], data }],
    [
      /"a": Q8_0 expected rows of a multiple of 32; got \[2, 16\]/,
      'a',
      { type: 'Q8_0', shape: [2, 16], data },
    ],
    [/"a": \[33\] has 33 values; got 32/, 'a', { type: 'F32', shape: [33], data }],
    [
      /"a": F16 does not reach the value 65520 \(index 0\)/,
      'a',
      { type: 'F16', shape: [1], data: Float32Array.of(65520) },
    ],
  ])('refuses %s', (sentence, key, tensor) => {
    const error = thrown(() => write({ tensors: { [key]: tensor } }));
    expect(error).toBeInstanceOf(RangeError);
    expect(error.message).toMatch(sentence);
  });
});

describe('F16', () => {
  const view = new DataView(new ArrayBuffer(2));
  const bitsOf = (x: number) => {
    setFloat16(view, 0, x);
    return view.getUint16(0);
  };

  it('is the nearest, ties to even, subnormals and infinities included', () => {
    const f32 = new Float32Array(1);
    const bits = new Uint32Array(f32.buffer);
    const check = (pattern: number) => {
      bits[0] = pattern;
      if (!Number.isNaN(f32[0]) && toF16(f32[0]) !== bitsOf(f32[0]))
        expect({ x: f32[0], half: toF16(f32[0]) }).toEqual({ x: f32[0], half: bitsOf(f32[0]) });
    };
    const next = random(16);
    for (let i = 0; i < 200_000; i++) check((next() * 2 ** 32) >>> 0);
    // every f16 that is finite, half-way to the next, and the f32s beside both
    for (let half = 0; half < 0x7c00; half++) {
      view.setUint16(0, half);
      const low = half < 0x400 ? half * 2 ** -24 : 2 ** ((half >> 10) - 25) * (1024 + (half & 1023));
      f32[0] = low;
      const from = bits[0];
      f32[0] = half < 0x400 ? (half + 0.5) * 2 ** -24 : low + 2 ** ((half >> 10) - 26);
      for (const pattern of [from, bits[0]])
        for (const near of [pattern - 1, pattern, pattern + 1])
          if (near >= 0) for (const sign of [0, 0x80000000]) check((near | sign) >>> 0);
    }
  });

  it('keeps what f16 has', () => {
    const data = noise(1000, random(3)).map(f16round);
    const read = readGguf(write({ tensors: { x: { type: 'F16', shape: [1000], data } } }));
    expect(valuesOf(read.tensors.get('x')!)).toEqual([...data]);
  });
});

describe('Q8_0', () => {
  const roundTrip = (data: Float32Array) => {
    const read = readGguf(write({ tensors: { x: { type: 'Q8_0', shape: [data.length], data } } }));
    return valuesOf(read.tensors.get('x')!);
  };
  const block = (...values: number[]) => Float32Array.from({ length: 32 }, (_, i) => values[i] ?? 0);

  it('rounds halves away from zero: the scale is 1 where the largest is 127', () => {
    const values = [127, 0.5, -0.5, 1.5, -1.5, 2.5, -2.5, 0.49999997, -126.5];
    expect(roundTrip(block(...values)).slice(0, 9)).toEqual([127, 1, -1, 2, -2, 3, -3, 0, -127]);
    expect(roundTrip(block(...values.map(x => -x)))[0]).toBe(-127);
  });

  it('multiplies by the inverse of the step, as llama.cpp does: 8.49999 steps become 9', () => {
    const x = 0.06692913174629211;
    expect(x / Math.fround(1 / 127)).toBeLessThan(8.5);
    expect(encoded('Q8_0', block(1, x))[3]).toBe(9);
  });

  it('is 34 bytes a block: the scale, then the values', () => {
    expect([...encoded('Q8_0', block(-254, 2, 3))].slice(0, 6)).toEqual([0x00, 0x40, 129, 1, 2, 0]);
    expect(encoded('Q8_0', new Float32Array(96))).toEqual(new Uint8Array(102));
    expect(ggmlBytes('Q8_0', 96)).toBe(102);
  });

  it('is at most half a step away, and half a unit of the f16 scale for each of 127 steps', () =>
    fc.assert(
      fc.property(fc.integer(), fc.integer({ min: -20, max: 12 }), (seed, exponent) => {
        const data = noise(64, random(seed), 2 ** exponent);
        const back = roundTrip(data);
        for (const at of [0, 32]) {
          const step = Math.max(...data.subarray(at, at + 32).map(Math.abs)) / 127;
          const scaleError = Math.max(step * 2 ** -11, 2 ** -25);
          const bound = (0.5 * step + 127 * scaleError) * (1 + 2 ** -20);
          for (let i = at; i < at + 32; i++) expect(Math.abs(back[i] - data[i])).toBeLessThanOrEqual(bound);
        }
      }),
    ));

  it('is odd, keeps signs, and scales with powers of two', () =>
    fc.assert(
      fc.property(fc.integer(), fc.integer({ min: -3, max: 3 }), (seed, exponent) => {
        const data = noise(32, random(seed));
        const back = roundTrip(data);
        expect(roundTrip(data.map(x => -x))).toEqual(back.map(x => 0 - x));
        expect(roundTrip(data.map(x => x * 2 ** exponent))).toEqual(back.map(x => x * 2 ** exponent));
        for (const [i, x] of back.entries()) expect(x * data[i]).toBeGreaterThanOrEqual(0);
      }),
    ));

  it('is 0 where f16 has no scale that small, and refuses one too large', () => {
    for (const tiny of [1e-45, 1e-40, 1e-38, 3e-6]) expect(roundTrip(block(tiny))[0]).toBe(0);
    expect([...encoded('Q8_0', block(1e-40))]).toEqual(Array(34).fill(0));
    expect([...encoded('Q8_0', block(3e-6))].slice(0, 3)).toEqual([0, 0, 127]);
    expect(thrown(() => roundTrip(block(1, -8.4e6))).message).toBe(
      'gguf: tensor "x": Q8_0 does not reach the value -8400000 (index 1)',
    );
  });
});
