import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type ByteSource, fromBytes } from '../../src/formats/bytes.ts';
import { widenBF16, widenF16 } from '../../src/formats/half.ts';
import { readSafetensors, type Writable, writeSafetensors } from '../../src/formats/safetensors.ts';
import type { Data } from '../../src/tensor.ts';
import { concat, safetensors, thrown } from './file.ts';

const model = fileURLToPath(new URL('../../models/mamba-books-15m/model.safetensors', import.meta.url));

const bytesOf = (data: Data) => Buffer.from(data.buffer, data.byteOffset, data.byteLength);
const open = (bytes: Uint8Array, options = {}) => readSafetensors(fromBytes('x.safetensors', bytes), options);

/** Values of a dtype, any bits at all, in the array that the writer takes. */
function valuesOf(dtype: Writable['dtype'], raw: Uint8Array, size: number): Data {
  const bytes = Uint8Array.from(
    { length: 4 * size },
    (_, i) => raw[i % raw.length] ^ ((i / raw.length) & 255),
  );
  if (dtype === 'I8') return new Int8Array(bytes.buffer, 0, size);
  if (dtype === 'I32') return new Int32Array(bytes.buffer);
  if (dtype === 'F32') return new Float32Array(bytes.buffer);
  const bits = new Uint32Array(size);
  (dtype === 'F16' ? widenF16 : widenBF16)(new Uint16Array(bytes.buffer, 0, size), bits);
  return new Float32Array(bits.buffer);
}
const anyTensor: fc.Arbitrary<Writable> = fc
  .record({
    dtype: fc.constantFrom('F32', 'F16', 'BF16', 'I8', 'I32'),
    shape: fc.array(fc.integer({ min: 0, max: 4 }), { maxLength: 4 }),
    raw: fc.uint8Array({ minLength: 1, maxLength: 64 }),
  })
  .map(({ dtype, shape, raw }) => {
    const size = shape.reduce((product, extent) => product * extent, 1);
    return { dtype, shape, data: valuesOf(dtype, raw, size) };
  });
const anyName = fc.oneof(
  fc.string({ unit: 'grapheme' }),
  fc.constantFrom('__proto__', 'constructor', '0', '', 'backbone.norm_f.weight'),
);
const anyTensors = fc.uniqueArray(fc.tuple(anyName, anyTensor), {
  selector: ([name]) => name,
  maxLength: 6,
});
const anyMetadata = fc.dictionary(anyName, fc.string({ unit: 'grapheme' }), { maxKeys: 4 });

describe('safetensors', () => {
  it('what is written comes back, to the bit', () => {
    fc.assert(
      fc.property(anyTensors, anyMetadata, (tensors, metadata) => {
        const file = open(concat(writeSafetensors(tensors, metadata, { finite: false })), { finite: false });
        expect(Object.entries(file.metadata).sort()).toEqual(Object.entries(metadata).sort());
        expect([...file.tensors.keys()].sort()).toEqual(tensors.map(([name]) => name).sort());
        for (const [name, { dtype, shape, data }] of tensors) {
          const back = file.read(name);
          expect(file.tensors.get(name)).toMatchObject({ dtype, shape });
          expect(back.shape).toEqual(shape);
          expect(back.data.constructor).toBe(data.constructor);
          expect(bytesOf(back.data).equals(bytesOf(data))).toBe(true);
        }
      }),
    );
  });

  it('the bytes do not depend on the order of tensors or metadata', () => {
    fc.assert(
      fc.property(anyTensors, anyMetadata, (tensors, metadata) => {
        const reversed = Object.fromEntries(Object.entries(metadata).reverse());
        expect(concat(writeSafetensors([...tensors].reverse(), reversed, { finite: false }))).toEqual(
          concat(writeSafetensors(tensors, metadata, { finite: false })),
        );
      }),
    );
  });

  it('every tensor is aligned to its dtype, in the file', () => {
    const width = { F32: 4, F16: 2, BF16: 2, I8: 1, I32: 4 };
    fc.assert(
      fc.property(anyTensors, tensors => {
        const bytes = concat(writeSafetensors(tensors, {}, { finite: false }));
        for (const [name, { begin }] of open(bytes).tensors)
          expect(begin % width[tensors.find(([n]) => n === name)![1].dtype]).toBe(0);
        expect(Number(Buffer.from(bytes).readBigUInt64LE()) % 8).toBe(0);
      }),
    );
  });

  it('the official writer and ours give the same file (the model was written by the official one)', () => {
    const official = readFileSync(model);
    const file = open(official);
    const tensors = [...file.tensors].map(
      ([name, { dtype }]) => [name, { ...file.read(name), dtype } as Writable] as const,
    );
    expect(tensors.length).toBeGreaterThan(100);
    expect(Buffer.compare(concat(writeSafetensors(tensors, file.metadata)), official)).toBe(0);
  });

  it('reads a tensor that is longer than one chunk', () => {
    fc.assert(
      fc.property(
        fc.constantFrom('F16', 'BF16', 'F32' as const),
        fc.integer({ min: -1, max: 1 }),
        fc.integer({ min: 1, max: 2 }),
        fc.uint8Array({ minLength: 7, maxLength: 31 }),
        (dtype, off, chunks, raw) => {
          const data = valuesOf(dtype, raw, 65536 * chunks + off);
          const bytes = concat(
            writeSafetensors([['x', { dtype, shape: [data.length], data }]], {}, { finite: false }),
          );
          const back = open(bytes, { finite: false }).read('x').data;
          expect(bytesOf(back).equals(bytesOf(data))).toBe(true);
        },
      ),
      { numRuns: 30 },
    );
  });

  it('I64 becomes i32 where it fits', () => {
    const write = (...values: bigint[]) =>
      safetensors(
        { ids: { dtype: 'I64', shape: [values.length], data_offsets: [0, 8 * values.length] } },
        new Uint8Array(BigInt64Array.from(values).buffer),
      );
    fc.assert(
      fc.property(
        fc.array(fc.oneof(fc.bigInt({ min: -(2n ** 33n), max: 2n ** 33n }), fc.integer().map(BigInt))),
        v => {
          const bad = v.findIndex(value => value !== BigInt.asIntN(32, value));
          if (bad < 0) expect([...open(write(...v)).read('ids').data]).toEqual(v.map(Number));
          else
            expect(thrown(() => open(write(...v)).read('ids')).message).toBe(
              `x.safetensors: tensor "ids": value at index ${bad} does not fit in 32 bits`,
            );
        },
      ),
    );
    const long = new BigInt64Array(65540).map((_, i) => BigInt(i - 3));
    expect(open(write(...long)).read('ids').data[65539]).toBe(65536);
  });

  it.each([
    ['F32', Number.NaN],
    ['F32', Number.POSITIVE_INFINITY],
    ['F16', Number.NEGATIVE_INFINITY],
    ['BF16', Number.NaN],
  ] as const)(
    'neither writes nor reads %s weights with %s, and says where; unless told to',
    (dtype, value) => {
      const data = new Float32Array(70000).fill(0.5);
      data[66000] = value;
      const write = (finite?: boolean) =>
        concat(writeSafetensors([['w', { dtype, shape: [70000], data }]], {}, { finite }));
      expect(() => write()).toThrow(
        new RangeError(`safetensors: tensor "w": expected finite values; got ${value} at index 66000`),
      );
      const bytes = write(false);
      const error = thrown(() => open(bytes).read('w'));
      expect(error).toBeInstanceOf(RangeError);
      expect(error.message).toBe(
        `x.safetensors: tensor "w": expected finite values; got ${value} at index 66000`,
      );
      expect(open(bytes, { finite: false }).read('w').data[66000]).toBe(value);
    },
  );

  it('rounds F64 to the nearest f32, and refuses what is not finite as one', () => {
    const file = (values: Float64Array) =>
      open(
        safetensors(
          { x: { dtype: 'F64', shape: [values.length], data_offsets: [0, 8 * values.length] } },
          new Uint8Array(values.slice().buffer),
        ),
      );
    const values = Float64Array.from({ length: 70_000 }, (_, i) => (i - 35_000) / 7);
    expect(file(values).read('x')).toEqual({
      dtype: 'f32',
      shape: [70_000],
      data: Float32Array.from(values),
    });
    expect(() => file(Float64Array.of(1, 1e300)).read('x')).toThrow(
      'x.safetensors: tensor "x": expected finite values; got Infinity at index 1',
    );
  });

  it('a tensor without values is harmless, whatever its other extents claim', () => {
    const header = (shape: readonly number[], dtype = 'F32') =>
      safetensors({ x: { dtype, shape, data_offsets: [0, 0] } });
    for (const shape of [[0], [2 ** 53 - 1, 2 ** 53 - 1, 0], [0, 2 ** 53 - 1]])
      for (const dtype of ['F32', 'F16', 'I8', 'I64'])
        expect(open(header(shape, dtype)).read('x').data.length).toBe(0);
    expect(() => open(header([...Array(40).fill(2 ** 53 - 1), 0]))).toThrow(/^x\.safetensors: tensor "x": /);
  });

  it('names what it cannot give', () => {
    const bytes = safetensors({ x: { dtype: 'U64', shape: [1], data_offsets: [0, 8] } }, new Uint8Array(8));
    expect(() => open(bytes).read('x')).toThrow(
      new TypeError('x.safetensors: tensor "x": expected one of F32, F16, BF16, F64, I8, I32, I64; got U64'),
    );
    expect(() => open(bytes).read('y')).toThrow('x.safetensors: no tensor "y"');
  });

  it('opening reads the header only, and a read needs little more than its tensor', () => {
    const gigabytes = 10_000_000_000;
    const header = safetensors({
      large: { dtype: 'F32', shape: [gigabytes / 4], data_offsets: [8, gigabytes + 8] },
      small: { dtype: 'F16', shape: [2, 2], data_offsets: [0, 8] },
    });
    const requests: [number, number][] = [];
    const source: ByteSource = {
      ...fromBytes('sparse.safetensors', header),
      size: header.length + gigabytes + 8,
      readInto: (target, begin) => requests.push([begin, target.length]),
    };
    const file = readSafetensors(source);
    expect(requests).toEqual([]);
    expect(file.read('small').data).toEqual(new Float32Array(4));
    expect(requests).toEqual([[header.length, 8]]);
  });

  describe('writer', () => {
    const x = { dtype: 'F32', shape: [2], data: Float32Array.of(1, 2) } as const;
    const write = (tensors: [string, unknown][], metadata = {}) =>
      concat(writeSafetensors(tensors as [string, Writable][], metadata));

    it('asks for data when its turn comes', () => {
      const asked: string[] = [];
      const lazy = (name: string): [string, Writable] => [
        name,
        {
          ...{ dtype: 'F32', shape: [2] },
          get data() {
            asked.push(name);
            return x.data;
          },
        },
      ];
      const pieces = writeSafetensors([lazy('b'), lazy('a')])[Symbol.iterator]();
      pieces.next();
      expect(asked).toEqual([]);
      pieces.next();
      expect(asked).toEqual(['a']);
    });

    it.each<[string, [string, unknown][], object, string]>([
      [
        'a name twice',
        [
          ['x', x],
          ['x', x],
        ],
        {},
        'tensor "x": name is taken',
      ],
      ['the metadata key as a name', [['__metadata__', x]], {}, 'tensor "__metadata__": name is taken'],
      ['a name that has no UTF-8', [['\ud800', x]], {}, 'name expected Unicode text'],
      ['a dtype that it does not write', [['x', { ...x, dtype: 'F64' }]], {}, 'dtype expected one of'],
      ['a fractional shape', [['x', { ...x, shape: [0.5] }]], {}, 'shape expected whole numbers'],
      ['a negative shape', [['x', { ...x, shape: [-1, -2] }]], {}, 'shape expected whole numbers'],
      ['too few values', [['x', { ...x, shape: [3] }]], {}, 'F32[3] has 3 values; got 2'],
      [
        'another array',
        [['x', { ...x, data: Int8Array.of(1, 2) }]],
        {},
        'F32 expected a Float32Array; got Int8Array',
      ],
      ['no data', [['x', { ...x, data: undefined }]], {}, 'F32 expected a Float32Array; got undefined'],
      ['metadata that is no text', [], { n: 1 }, 'metadata "n" expected Unicode text; got 1'],
      [
        'a value that F16 does not have',
        [['x', { ...x, dtype: 'F16', data: Float32Array.of(1, 1 + 2 ** -12) }]],
        {},
        'F16 does not have the value 1.000244140625 (index 1)',
      ],
      [
        'a value that BF16 does not have',
        [['x', { ...x, dtype: 'BF16', data: Float32Array.of(1 + 2 ** -8, 1) }]],
        {},
        'BF16 does not have the value 1.00390625 (index 0)',
      ],
    ])('refuses %s', (_, tensors, metadata, message) => {
      const error = thrown(() => write(tensors, metadata));
      expect(error.message).toContain(message);
      expect(error.message).toMatch(/^safetensors: /);
    });
  });
});
