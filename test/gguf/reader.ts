/** Reads GGUF for the tests, written from the format's page and not from the writer. */
import { getFloat16 } from '@petamoriken/float16';

export interface ReadTensor {
  readonly type: number;
  /** Fastest axis first, as in the file. */
  readonly extents: readonly number[];
  /** From the start of the file. */
  readonly begin: number;
  readonly bytes: Uint8Array;
}
export interface ReadGguf {
  readonly version: number;
  /** Each value after the file's number for its type; an array's is `[9, type of an element]`. */
  readonly metadata: ReadonlyMap<string, readonly [type: number | readonly number[], value: unknown]>;
  readonly tensors: ReadonlyMap<string, ReadTensor>;
  /** Where the last tensor ends, its padding included. */
  readonly end: number;
}

/** Bytes of so many values, by the file's number for a type. */
const SIZES: Readonly<Record<number, (values: number) => number>> = {
  0: n => 4 * n,
  1: n => 2 * n,
  8: n => (n / 32) * 34,
};
const aligned = (at: number) => (at % 32 === 0 ? at : at + 32 - (at % 32));

export function readGguf(file: Uint8Array): ReadGguf {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  let at = 0;
  const skip = (size: number) => (at += size) - size;
  const u32 = () => view.getUint32(skip(4), true);
  const u64 = () => Number(view.getBigUint64(skip(8), true));
  const text = () => {
    const size = u64();
    return new TextDecoder('utf-8', { fatal: true }).decode(file.subarray(skip(size), at));
  };
  const read: Readonly<Record<number, () => unknown>> = {
    4: u32,
    5: () => view.getInt32(skip(4), true),
    6: () => view.getFloat32(skip(4), true),
    7: () => [false, true][view.getUint8(skip(1))],
    8: text,
  };
  const value = (): readonly [number | number[], unknown] => {
    const type = u32();
    if (type !== 9) return [type, read[type]()];
    const element = u32();
    const length = u64();
    return [[9, element], Array.from({ length }, read[element])];
  };

  if (view.getUint32(skip(4), false) !== 0x47475546) throw new Error('no GGUF');
  const version = u32();
  const tensorCount = u64();
  const keyCount = u64();
  const metadata = new Map(Array.from({ length: keyCount }, () => [text(), value()] as const));
  const infos = Array.from({ length: tensorCount }, () => {
    const name = text();
    const extents = Array.from({ length: u32() }, u64);
    return { name, extents, type: u32(), offset: u64() };
  });
  const start = aligned(at);
  let end = start;
  const tensors = new Map<string, ReadTensor>();
  for (const { name, extents, type, offset } of infos) {
    const begin = start + offset;
    const size = SIZES[type](extents.reduce((a, b) => a * b, 1));
    tensors.set(name, { type, extents, begin, bytes: file.slice(begin, begin + size) });
    end = aligned(begin + size);
  }
  return { version, metadata, tensors, end };
}

/** A tensor's values as they come out of the file. */
export function valuesOf({ type, bytes }: ReadTensor): number[] {
  const view = new DataView(bytes.buffer);
  if (type === 0) return Array.from({ length: bytes.length / 4 }, (_, i) => view.getFloat32(4 * i, true));
  if (type === 1) return Array.from({ length: bytes.length / 2 }, (_, i) => getFloat16(view, 2 * i, true));
  return Array.from({ length: bytes.length / 34 }, (_, block) =>
    Array.from(
      { length: 32 },
      (_, i) => getFloat16(view, 34 * block, true) * view.getInt8(34 * block + 2 + i),
    ),
  ).flat();
}
