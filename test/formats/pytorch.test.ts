/**
 * What torch.save writes reads equal, and a file that is anything else is refused in one sentence of ours: a collection of
 * hostile files (test/formats/pytorch/make.py), and whatever fast-check makes of good ones.
 */
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type ByteSource, fromBytes } from '../../src/formats/bytes.ts';
import { readPytorch } from '../../src/formats/pytorch.ts';
import { readSafetensors } from '../../src/formats/safetensors.ts';
import { sizeOf } from '../../src/tensor.ts';
import { thrown } from './file.ts';

const folder = fileURLToPath(new URL('./pytorch', import.meta.url));
interface Listed {
  readonly sha256: string;
  readonly refused?: string;
}
const manifest: Readonly<Record<'valid' | 'sound' | 'hostile', Readonly<Record<string, Listed>>>> =
  JSON.parse(readFileSync(join(folder, 'manifest.json'), 'utf8'));
const hostile = Object.entries(manifest.hostile);
const valid = Object.keys(manifest.valid).filter(name => name.endsWith('.bin'));
const bytesOf = (...path: string[]): Uint8Array => new Uint8Array(readFileSync(join(folder, ...path)));
const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');

/** Counts what is read, and refuses to read more than three times the file. */
function metered(name: string, bytes: Uint8Array): ByteSource {
  const inner = fromBytes(name, bytes);
  let read = 0;
  const meter = (count: number) => {
    read += count;
    if (read > 3 * bytes.length + 100_000)
      throw new Error(`${name}: METER: ${read} of ${bytes.length} bytes`);
  };
  return {
    ...inner,
    read(begin, end) {
      meter(end - begin);
      return inner.read(begin, end);
    },
    readInto(target, begin) {
      meter(target.length);
      inner.readInto(target, begin);
    },
  };
}

const readAll = (bytes: Uint8Array, file = 'hostile.bin') => {
  const source = metered(file, bytes);
  const found = readPytorch(source);
  for (const name of [...found.tensors.keys()].slice(0, 3)) found.read(name);
  return found;
};

/** `…` stands for anything. */
const pattern = (sentence: string): RegExp =>
  new RegExp(sentence.replace(/[.*+?^${}()|[\]\\]/g, '\\$&').replaceAll('…', '.*'));

describe('the collection', () => {
  it('is as the manifest says', () => {
    for (const kind of ['valid', 'sound', 'hostile'] as const) {
      const suffix = kind === 'valid' ? '' : '.bin';
      const found = readdirSync(join(folder, kind)).map(name => basename(name, suffix));
      expect(found.sort()).toEqual(Object.keys(manifest[kind]).sort());
      for (const [name, { sha256: said }] of Object.entries(manifest[kind]))
        expect(sha256(bytesOf(kind, name + suffix)), name).toBe(said);
    }
    expect(hostile.length).toBeGreaterThan(100);
  });

  it('has files that differ in one fault each: the sound file beside them loads', () => {
    expect(readAll(bytesOf('valid', 'linear.bin')).tensors.size).toBe(2);
    const sums = hostile.map(([, { sha256: sum }]) => sum);
    expect(new Set(sums).size).toBe(sums.length);
  });

  it.each(hostile)('refuses %s', (name, { refused }) => {
    const { message } = thrown(() => readAll(bytesOf('hostile', `${name}.bin`)));
    expect(message).toMatch(pattern(refused!));
    expect(message).toMatch(/^hostile\.bin(?:\/data\.pkl)?: /);
    expect(message).not.toMatch(/\n|METER/);
    expect(message.length).toBeLessThan(400);
  });
});

describe('what torch.save may write', () => {
  const w = { dtype: 'f32', shape: [2, 3], data: Float32Array.of(1, 2, 3, 4, 5, 6) };

  it.each(Object.keys(manifest.sound))('%s loads', name => {
    expect(readAll(bytesOf('sound', `${name}.bin`)).read('w')).toEqual(w);
  });

  it('a view begins at its offset', () => {
    expect(readAll(bytesOf('sound', 'shared.bin')).read('v').data).toEqual(Float32Array.of(2, 4, 6));
  });

  it('may be larger than 4 GiB', () => {
    const bytes = Buffer.from(bytesOf('sound', 'wide-header.bin'));
    const cut = bytes.indexOf('a/data/0') - 30; // from the values on, everything is 5 GiB further
    const far = 5 * 2 ** 30;
    const end = bytes.length - 22;
    const move = (at: number) => {
      const value = bytes.readBigUInt64LE(at);
      if (value >= cut) bytes.writeBigUInt64LE(value + BigInt(far), at);
    };
    let at = Number(bytes.readBigUInt64LE(end - 20 - 56 + 48));
    for (let entry = 0; entry < 3; entry++) {
      const extra = at + 46 + bytes.readUInt16LE(at + 28);
      move(extra + 4);
      at = extra + bytes.readUInt16LE(at + 30);
    }
    move(end - 20 - 56 + 48);
    move(end - 20 + 8);
    const near = (byte: number) => (byte < cut ? byte : byte < cut + far ? Number.NaN : byte - far);
    const inner = fromBytes('large.bin', bytes);
    const read = (begin: number, last: number): Uint8Array => {
      if (begin >= cut + far || last <= cut) return inner.read(near(begin), near(last - 1) + 1);
      const zeros = new Uint8Array(last - begin); // what of it is in the hole
      for (let i = begin; i < last; i++) zeros[i - begin] = bytes[near(i)] ?? 0;
      return zeros;
    };
    const file = readPytorch({
      ...inner,
      size: bytes.length + far,
      read,
      readInto: (target, begin) => target.set(read(begin, begin + target.length)),
    });
    expect(file.read('w')).toEqual(w);
  });
});

describe('what torch.save wrote', () => {
  it.each(valid)('%s reads equal', file => {
    const name = basename(file, '.bin');
    const ours = readPytorch(fromBytes(file, bytesOf('valid', file)));
    const theirs = readSafetensors(fromBytes(`${name}.safetensors`, bytesOf('valid', `${name}.safetensors`)));
    expect(ours.tensors.size).toBeGreaterThan(0);
    expect([...ours.tensors.keys()].sort()).toEqual([...theirs.tensors.keys()].sort());
    for (const tensor of theirs.tensors.keys()) {
      const [got, wanted] = [ours.read(tensor), theirs.read(tensor)];
      expect(got.shape, tensor).toEqual(wanted.shape);
      expect(ours.tensors.get(tensor)!.shape, tensor).toEqual(wanted.shape);
      expect(got.dtype, tensor).toBe(wanted.dtype);
      const bits = (t: typeof got) =>
        Buffer.from(t.data.buffer, t.data.byteOffset, t.data.byteLength).toString('hex');
      expect(bits(got), tensor).toBe(bits(wanted));
    }
  });

  it('keeps the stored dtypes', () => {
    const { tensors } = readPytorch(fromBytes('types.bin', bytesOf('valid', 'types.bin')));
    const dtypes = Object.fromEntries([...tensors].map(([name, { dtype }]) => [name, dtype]));
    expect(dtypes).toMatchObject({ f32: 'F32', f16: 'F16', bf16: 'BF16', i8: 'I8', i32: 'I32', i64: 'I64' });
  });

  it('refuses NaN, a name that is not there, and what a cut file lacks', () => {
    const good = bytesOf('valid', 'linear.bin');
    expect(() => readPytorch(fromBytes('f', good)).read('x')).toThrow('f: no tensor "x"');
    const broken = good.slice();
    new DataView(broken.buffer).setUint32(firstValue(good), 0x7fc00000, true);
    expect(() => readAll(broken, 'f')).toThrow(/^f: tensor "weight": expected finite values; got NaN/);
  });
});

/** Where the values of linear.bin begin: in data/0, after its name and the alignment. */
function firstValue(bytes: Uint8Array): number {
  const name = Buffer.from(bytes).indexOf('linear/data/0');
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  return name + view.getUint16(name - 4, true) + view.getUint16(name - 2, true);
}

describe('fuzz', () => {
  /** Loads, or is refused in a sentence of ours; says which. */
  function loadsOrSays(bytes: Uint8Array): boolean {
    try {
      const file = readAll(bytes, 'fuzz.bin');
      for (const { shape } of file.tensors.values()) expect(sizeOf(shape)).toBeLessThanOrEqual(bytes.length);
      return true;
    } catch (error) {
      const { message } = error as Error;
      expect(message).toMatch(/^fuzz\.bin(?:\/data\.pkl)?: /);
      expect(message.length).toBeLessThan(700);
      expect(message).not.toMatch(
        /is not a function|of undefined|of null|not iterable|Invalid typed array|stack size|METER|\n/,
      );
      return false;
    }
  }
  const goods = ['linear.bin', 'types.bin', 'views.bin'].map(name => bytesOf('valid', name));

  it('a file cut at any byte is refused', () => {
    const [good] = goods;
    expect(loadsOrSays(good)).toBe(true);
    for (let end = 0; end < good.length; end++) expect(loadsOrSays(good.slice(0, end)), `${end}`).toBe(false);
  });

  it('every single byte changed to its neighbours and to its inverse', () => {
    const [good] = goods;
    const bytes = good.slice();
    for (let at = 0; at < good.length; at++)
      for (const value of [good[at] + 1, good[at] - 1, good[at] ^ 0xff, 0]) {
        bytes[at] = value;
        loadsOrSays(bytes);
        bytes[at] = good[at];
      }
  });

  it('random bytes changed, within the pickle and the directory', () => {
    const seen = { loaded: 0, refused: 0 };
    const change = fc.tuple(fc.double({ min: 0, max: 1, noNaN: true }), fc.nat(255));
    const good = fc.constantFrom(...goods);
    fc.assert(
      fc.property(
        good,
        fc.array(change, { minLength: 1, maxLength: 6 }),
        fc.boolean(),
        (file, changes, late) => {
          const bytes = file.slice();
          const [from, count] = late ? [file.length - 800, 800] : [64, 600];
          for (const [where, value] of changes) bytes[from + Math.floor(where * (count - 1))] = value;
          seen[loadsOrSays(bytes) ? 'loaded' : 'refused']++;
        },
      ),
      { numRuns: 10_000 },
    );
    expect(Math.min(seen.loaded, seen.refused)).toBeGreaterThan(10);
  });

  it('pieces cut out, doubled and moved', () => {
    const piece = fc.tuple(fc.constantFrom('cut', 'double', 'move'), fc.nat(), fc.nat(200), fc.nat());
    fc.assert(
      fc.property(
        fc.constantFrom(...goods),
        fc.array(piece, { minLength: 1, maxLength: 3 }),
        (file, pieces) => {
          let bytes = Buffer.from(file);
          for (const [how, start, length, target] of pieces) {
            const from = start % bytes.length;
            const part = bytes.subarray(from, from + length);
            const without = Buffer.concat([bytes.subarray(0, from), bytes.subarray(from + length)]);
            const base = how === 'double' ? bytes : without;
            const to = target % (base.length + 1);
            bytes = how === 'cut' ? without : Buffer.concat([base.subarray(0, to), part, base.subarray(to)]);
            if (!bytes.length) return;
          }
          loadsOrSays(new Uint8Array(bytes));
        },
      ),
      { numRuns: 5000 },
    );
  });

  const shell = bytesOf('hostile', 'none.bin'); // its pickle is 4 bytes, and its directory says so
  it.each(['}', ']', ')', 'N', 'K\x00', '(t', ']a', 'h\x00'])('a pickle of ever more %j ends soon', what => {
    const pickle = `\x80\x02]q\x00${what.repeat(300_000)}.`;
    const { message } = thrown(() => readAll(withPickle(shell, pickle)));
    expect(message).toMatch(
      /^hostile\.bin\/data\.pkl: byte \d+ of the pickle: more than 262144 instructions$/,
    );
  });

  it('random instructions in a sound zip file', () => {
    expect(Buffer.from(shell).indexOf('\x80\x02N.', 0, 'latin1')).toBeGreaterThan(0);
    const opcodes = '.(N\x88\x89KMJ\x8aGX)\x85\x86\x87t]ae}suqrhjcRbQ0i\x81\x93'.split('');
    const anything = fc.array(
      fc.oneof(
        fc.constantFrom(...opcodes),
        // biome-ignore format: a table
        fc.constantFrom(
          'K\x00', 'K\x06', 'q\x00', 'h\x00', 'X\x01\x00\x00\x00w', 'X\x01\x00\x00\x000', 'X\x07\x00\x00\x00storage',
          'X\x03\x00\x00\x00cpu', 'ctorch\nFloatStorage\n', 'ctorch._utils\n_rebuild_tensor_v2\n',
          'ccollections\nOrderedDict\n', 'ccollections\nOrderedDict\n)R', 'cos\nsystem\n',
          '(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x06tQ',
        ),
      ),
      { maxLength: 40 },
    );
    fc.assert(
      fc.property(anything, steps => void loadsOrSays(withPickle(shell, `\x80\x02${steps.join('')}.`))),
      { numRuns: 10_000 },
    );
  });
});

/** The file with another pickle, its sizes and positions put right. */
function withPickle(file: Uint8Array, pickle: string): Uint8Array {
  const old = 4;
  const bytes = Buffer.from(file);
  const at = bytes.indexOf('\x80\x02N.', 0, 'latin1');
  const grown = Buffer.byteLength(pickle, 'latin1') - old;
  const out = Buffer.concat([bytes.subarray(0, at), Buffer.from(pickle, 'latin1'), bytes.subarray(at + old)]);
  const end = out.length - 22;
  const directory = out.readUInt32LE(end + 16) + grown;
  out.writeUInt32LE(directory, end + 16);
  for (const field of [18, 22]) out.writeUInt32LE(old + grown, field);
  let entry = directory;
  for (let i = 0; i < out.readUInt16LE(end + 10); i++) {
    if (i === 0) for (const field of [20, 24]) out.writeUInt32LE(old + grown, entry + field);
    else out.writeUInt32LE(out.readUInt32LE(entry + 42) + grown, entry + 42);
    entry += 46 + out.readUInt16LE(entry + 28) + out.readUInt16LE(entry + 30);
  }
  return new Uint8Array(out);
}
