/**
 * A safetensors file is hostile until it is proven right: whatever its bytes, it loads or it is refused in one of our
 * sentences, which begin with the file's name. Nothing else may escape, and nothing is allocated that the file lacks.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { fromBytes } from '../../src/formats/bytes.ts';
import { readSafetensors, writeSafetensors } from '../../src/formats/safetensors.ts';
import { concat, safetensors, thrown } from './file.ts';

const FILE = 'fuzz.safetensors';
const readAll = (bytes: Uint8Array) => {
  const file = readSafetensors(fromBytes(FILE, bytes));
  for (const name of file.tensors.keys()) file.read(name);
  return file;
};

/** Loads, or is refused in a sentence of ours; says which. */
function loadsOrSays(bytes: Uint8Array): boolean {
  try {
    readAll(bytes);
    return true;
  } catch (error) {
    const { message } = error as Error;
    expect(message.slice(0, FILE.length + 2)).toBe(`${FILE}: `);
    expect(message.length).toBeLessThan(700);
    expect(message).not.toMatch(
      /is not a function|of undefined|of null|not iterable|Invalid typed array|stack size/,
    );
    return false;
  }
}

const good = concat(
  writeSafetensors(
    [
      ['half', { dtype: 'F16', shape: [3], data: Float32Array.of(1, -0.5, 65504) }],
      ['float', { dtype: 'F32', shape: [2, 2], data: Float32Array.of(1, 2, 3, 4) }],
      ['int', { dtype: 'I8', shape: [5], data: Int8Array.of(1, 2, 3, -128, 127) }],
      ['none', { dtype: 'BF16', shape: [0, 7], data: new Float32Array(0) }],
      ['scalar', { dtype: 'I32', shape: [], data: Int32Array.of(-1) }],
    ],
    { format: 'pt' },
  ),
);

describe('fuzz', () => {
  it('a file cut at any byte is refused', () => {
    expect(loadsOrSays(good)).toBe(true);
    const headerEnd = 8 + Number(Buffer.from(good).readBigUInt64LE());
    for (let end = 0; end < good.length; end++) {
      expect(loadsOrSays(good.slice(0, end)), `${end}`).toBe(false);
      const { message } = thrown(() => readAll(good.slice(0, end)));
      expect(message).toMatch(
        end < 8 ? /at least 8 bytes/ : end < headerEnd ? /does not fit in a file/ : /cut off\?$/,
      );
    }
  });

  it('a file with bytes after its tensors is refused', () => {
    for (const extra of [1, 8, 4096])
      expect(loadsOrSays(concat([good, new Uint8Array(extra)])), `${extra}`).toBe(false);
  });

  it('random bytes changed', () => {
    const seen = { loaded: 0, refused: 0 };
    const change = fc.tuple(fc.nat(good.length - 1), fc.integer({ min: 0, max: 255 }));
    fc.assert(
      fc.property(fc.array(change, { minLength: 1, maxLength: 8 }), changes => {
        const bytes = good.slice();
        for (const [at, value] of changes) bytes[at] = value;
        seen[loadsOrSays(bytes) ? 'loaded' : 'refused']++;
      }),
      { numRuns: 20_000 },
    );
    expect(Math.min(seen.loaded, seen.refused)).toBeGreaterThan(10);
  });

  it('random bytes from the start', () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), bytes => void loadsOrSays(bytes)));
  });

  it('random JSON as header, as entry and as field', () => {
    const entry = { dtype: 'F32', shape: [2], data_offsets: [0, 8] };
    const anyJson = fc.oneof(
      fc.jsonValue({ maxDepth: 3 }),
      fc.constantFrom(
        -1,
        0.5,
        1e300,
        2 ** 53,
        [0, 8],
        [8, 0],
        [0.5, 8],
        [2 ** 53, 2 ** 53 + 8],
        [2 ** 31, 2 ** 31],
      ),
    );
    const header = fc.oneof(
      anyJson,
      anyJson.map(x => ({ x })),
      anyJson.map(__metadata__ => ({ __metadata__, x: entry })),
      fc
        .tuple(fc.constantFrom('dtype', 'shape', 'data_offsets'), anyJson)
        .map(([field, value]) => ({ x: { ...entry, [field]: value } })),
    );
    fc.assert(
      fc.property(header, value => void loadsOrSays(safetensors(value, new Uint8Array(8)))),
      { numRuns: 5000 },
    );
  });

  const f32 = (shape: number[], begin: number, end: number, dtype = 'F32') => ({
    dtype,
    shape,
    data_offsets: [begin, end],
  });
  const data = new Uint8Array(16);
  const length = (value: bigint) => {
    const bytes = Buffer.from(good);
    bytes.writeBigUInt64LE(value);
    return bytes;
  };
  it.each<[string, Uint8Array, string]>([
    ['no byte', new Uint8Array(0), 'expected a safetensors file of at least 8 bytes; got 0'],
    [
      'a header of 2^63 bytes',
      length(2n ** 63n),
      'at most 100000000 bytes; its length says 9223372036854775808',
    ],
    [
      'a header of 100 MB and one byte',
      length(100_000_001n),
      'at most 100000000 bytes; its length says 100000001',
    ],
    [
      'a header longer than the file',
      length(90_000_000n),
      'header of 90000000 bytes does not fit in a file of',
    ],
    ['an empty header', length(0n), 'header expected a JSON object, beginning with {'],
    ['an array as header', safetensors('[]'), 'header expected a JSON object, beginning with {'],
    ['a byte order mark', safetensors('\ufeff{}'), 'header expected a JSON object, beginning with {'],
    ['ill-formed JSON', safetensors('{"x": }'), 'header: expected JSON; '],
    ['JSON and more', safetensors('{} {}'), 'header: expected JSON; '],
    [
      'bad UTF-8',
      safetensors(Buffer.from('{"\xff": 1}', 'latin1').toString('latin1')).map(b => (b === 0xc3 ? 0xff : b)),
      'header: expected UTF-8 text',
    ],
    ['a name twice', safetensors('{"x": 1, "x": 2}'), 'header: key "x" stands twice in one object'],
    [
      'a name twice, once escaped',
      safetensors('{"x": 1, "\\u0078" : 2}'),
      'header: key "x" stands twice in one object',
    ],
    [
      'a field twice',
      safetensors('{"a": [{"s": "\\\\"}], "x": {"dtype": "F32","dtype":"I8"}}'),
      'header: key "dtype" stands twice',
    ],
    [
      'metadata that is no object',
      safetensors({ __metadata__: ['pt'] }),
      '__metadata__ expected an object of texts; got ["pt"]',
    ],
    [
      'metadata with a number',
      safetensors({ __metadata__: { n: 1 } }),
      '__metadata__ expected an object of texts',
    ],
    ['a number as tensor', safetensors({ x: 3 }), 'tensor "x" expected an object; got 3'],
    ['null as tensor', safetensors({ x: null }), 'tensor "x" expected an object; got null'],
    [
      'an unknown dtype',
      safetensors({ x: f32([4], 0, 16, 'F31') }, data),
      'tensor "x": dtype expected one of F64, ',
    ],
    [
      'a dtype of Object',
      safetensors({ x: f32([4], 0, 16, 'toString') }, data),
      'tensor "x": dtype expected one of F64, ',
    ],
    [
      'a negative shape',
      safetensors({ x: f32([-2, -2], 0, 16) }, data),
      'shape expected whole numbers from 0 on; got [-2, -2]',
    ],
    [
      'a fractional shape',
      safetensors({ x: f32([0.5, 8], 0, 16) }, data),
      'shape expected whole numbers from 0 on; got [0.5, 8]',
    ],
    [
      'a shape that overflows',
      safetensors({ x: f32([2 ** 40, 2 ** 40], 0, 16) }, data),
      'data_offsets [0, 16] say 16',
    ],
    ['negative offsets', safetensors({ x: f32([4], -16, 0) }, data), 'data_offsets expected [begin, end]'],
    [
      'fractional offsets',
      safetensors({ x: f32([4], 0.5, 16.5) }, data),
      'data_offsets expected [begin, end]',
    ],
    [
      'offsets beyond 2^53',
      safetensors({ x: f32([4], 2 ** 53, 2 ** 53 + 16) }, data),
      'data_offsets expected [begin, end]',
    ],
    [
      'an end before its begin',
      safetensors({ x: f32([0], 16, 0) }, data),
      'data_offsets expected [begin, end]',
    ],
    [
      'three offsets',
      safetensors({ x: { ...f32([4], 0, 16), data_offsets: [0, 16, 16] } }, data),
      'data_offsets expected [begin, end]',
    ],
    [
      "a size that is not the shape's",
      safetensors({ x: f32([3], 0, 16) }, data),
      'F32[3] has 12 bytes; data_offsets [0, 16] say 16',
    ],
    [
      'ten gigabytes in a small file',
      safetensors({ x: f32([2.5e9], 0, 1e10) }, data),
      'tensors end at byte 10000000',
    ],
    ['overlap', safetensors({ a: f32([3], 0, 12), b: f32([2], 8, 16) }, data), 'tensor "b" begins at byte'],
    [
      'two tensors on the same bytes',
      safetensors({ a: f32([4], 0, 16), b: f32([4], 0, 16) }, data),
      'tensor "b" begins at byte',
    ],
    ['a hole', safetensors({ a: f32([1], 0, 4), b: f32([2], 8, 16) }, data), 'nothing covers the bytes from'],
    ['a hole at the start', safetensors({ a: f32([3], 4, 16) }, data), 'nothing covers the bytes from'],
    ['a hole at the end', safetensors({ a: f32([3], 0, 12) }, data), 'is it cut off?'],
    ['data but no tensors', safetensors({}, data), 'is it cut off?'],
    [
      'an empty tensor outside',
      safetensors({ a: f32([4], 0, 16), b: f32([0], 99, 99) }, data),
      'tensor "b" begins at byte',
    ],
  ])('refuses %s', (_, bytes, message) => {
    const error = thrown(() => readAll(bytes));
    expect(error.message).toContain(message);
    expect(error.message.slice(0, FILE.length + 2)).toBe(`${FILE}: `);
  });

  it('accepts what is odd but right: empty tensors anywhere, spaces after the header, tensors in any order', () => {
    const header = { b: f32([2], 8, 16), none: f32([0, 3], 8, 8), a: f32([2], 0, 8), last: f32([0], 16, 16) };
    const file = readAll(safetensors(`${JSON.stringify(header)}  \n `, data));
    expect([...file.tensors.keys()]).toEqual(['b', 'none', 'a', 'last']);
    expect(readAll(safetensors({})).tensors.size).toBe(0);
  });

  it('a header nested 200,000 deep is refused, not a stack overflow', () => {
    const deep = (n: number) => '['.repeat(n) + ']'.repeat(n);
    for (const field of [`{"x": ${deep(2e5)}}`, `{"x": {"dtype": "F32", "shape": ${deep(2e5)}}}`])
      expect(loadsOrSays(safetensors(field))).toBe(false);
    expect(loadsOrSays(safetensors(`{"x": ${'{"x":'.repeat(2e5)}1${'}'.repeat(2e5)}}`))).toBe(false);
  });

  it('a name of a megabyte does not become an error of a megabyte', () => {
    expect(loadsOrSays(safetensors({ ['x'.repeat(1e6)]: 1 }))).toBe(false);
  });
});
