/**
 * GGUF, the container of llama.cpp: what a model is, in keys and values, then its tensors. Little-endian.
 *
 *   "GGUF" │ u32 version 3 │ u64 tensors │ u64 keys
 *   │ for each key: its name, u32 type, value
 *   │ for each tensor: its name, u32 axes, u64 extents (fastest first), u32 type, u64 offset in the data
 *   │ data, where it and every tensor begin at a multiple of 32
 *
 * A text is its length in bytes as a u64 and its UTF-8.
 *
 * Source  https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
 */

import { bytesOf, concat } from '../formats/bytes.ts';
import { show } from '../formats/json.ts';
import { sizeOf } from '../tensor.ts';
import { encode, GGML, type GgmlType, ggmlBytes } from './ggml.ts';

/** A value with its type in the file. */
export type GgufValue =
  | readonly ['u32' | 'f32', number]
  | readonly ['bool', boolean]
  | readonly ['string', string]
  | readonly ['i32[]', readonly number[]]
  | readonly ['string[]', readonly string[]];

/** A tensor to write. `data` is read once, when its bytes are due: a getter may make it then. */
export interface GgufTensor {
  readonly type: GgmlType;
  /** Slowest axis first, as everywhere here; the file has them the other way round. */
  readonly shape: readonly number[];
  readonly data: Float32Array;
}

export interface Gguf {
  readonly metadata: Readonly<Record<string, GgufValue>>;
  readonly tensors: Readonly<Record<string, GgufTensor>>;
}

const VERSION = 3;
const ALIGNMENT = 32;
const TYPE_IDS = { u32: 4, i32: 5, f32: 6, bool: 7, string: 8, array: 9 } as const;
/** The longest name of a tensor that llama.cpp reads, in bytes. */
const MOST_NAME_BYTES = 63;
const MOST_AXES = 4;

/**
 * The file's bytes, piece by piece; keys and tensors stay in their order.
 *
 * @param onProgress is told how many tensors of how many are written.
 * @throws RangeError when a name or a shape cannot be written, at once; when `data` does not fit its shape, or holds what
 * its type does not reach, when its turn comes.
 */
export function writeGguf(
  { metadata, tensors }: Gguf,
  onProgress: (done: number, total: number) => void = () => {},
): Iterable<Uint8Array> {
  const entries = Object.entries(tensors);
  const header = concat(headerOf(Object.entries(metadata), entries));
  return pieces(concat([header, padding(header.length)]), entries, onProgress);
}

type Named<T> = readonly (readonly [name: string, value: T])[];

function* headerOf(keys: Named<GgufValue>, tensors: Named<GgufTensor>): Generator<Uint8Array> {
  yield utf8('GGUF');
  yield u32(VERSION);
  yield u64(tensors.length);
  yield u64(keys.length);
  for (const [key, value] of keys) {
    yield text(key);
    yield* encodedValue(value);
  }
  let offset = 0;
  for (const [name, { type, shape }] of tensors) {
    checkTensor(name, type, shape);
    yield text(name);
    yield u32(shape.length);
    for (const extent of shape.toReversed()) yield u64(extent);
    yield u32(GGML[type].id);
    yield u64(offset);
    offset = align(offset + ggmlBytes(type, sizeOf(shape)));
  }
}

const align = (size: number): number => Math.ceil(size / ALIGNMENT) * ALIGNMENT;
/** What stands between so many bytes and the next that is aligned. */
const padding = (size: number): Uint8Array => new Uint8Array(align(size) - size);

// Typed arrays have the machine's byte order; every engine that runs WebAssembly is little-endian, as the file is.
const u32 = (value: number): Uint8Array => bytesOf(Uint32Array.of(value));
const u64 = (value: number): Uint8Array => bytesOf(BigUint64Array.of(BigInt(value)));
const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text);
const text = (value: string): Uint8Array => {
  const bytes = utf8(value);
  return concat([u64(bytes.length), bytes]);
};

function checkTensor(name: string, type: GgmlType, shape: readonly number[]): void {
  const where = `gguf: tensor ${show(name)}`;
  const bytes = utf8(name).length;
  if (bytes < 1 || bytes > MOST_NAME_BYTES)
    throw new RangeError(`${where}: name expected 1 to ${MOST_NAME_BYTES} bytes; got ${bytes}`);
  if (shape.length < 1 || shape.length > MOST_AXES || !shape.every(n => Number.isSafeInteger(n) && n > 0))
    throw new RangeError(`${where}: shape expected 1 to ${MOST_AXES} positive sizes; got ${show(shape)}`);
  const { block } = GGML[type];
  if (shape.at(-1)! % block !== 0)
    throw new RangeError(`${where}: ${type} expected rows of a multiple of ${block}; got ${show(shape)}`);
}

function* encodedValue([type, value]: GgufValue): Generator<Uint8Array> {
  if (type === 'i32[]' || type === 'string[]') {
    yield u32(TYPE_IDS.array);
    yield u32(TYPE_IDS[type === 'i32[]' ? 'i32' : 'string']);
    yield u64(value.length);
    yield type === 'i32[]' ? bytesOf(Int32Array.from(value)) : concat(value.map(text));
    return;
  }
  yield u32(TYPE_IDS[type]);
  if (type === 'string') yield text(value);
  else if (type === 'bool') yield Uint8Array.of(value ? 1 : 0);
  else if (type === 'f32') yield bytesOf(Float32Array.of(value));
  else yield u32(value);
}

function* pieces(
  header: Uint8Array,
  tensors: Named<GgufTensor>,
  onProgress: (done: number, total: number) => void,
): Generator<Uint8Array> {
  yield header;
  for (const [i, [name, tensor]] of tensors.entries()) {
    const { type, shape, data } = tensor;
    const where = `gguf: tensor ${show(name)}`;
    const size = sizeOf(shape);
    if (data.length !== size)
      throw new RangeError(`${where}: ${show(shape)} has ${size} values; got ${data.length}`);
    yield* encode(type, data, where);
    yield padding(ggmlBytes(type, size));
    onProgress(i + 1, tensors.length);
  }
}
