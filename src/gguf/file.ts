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

import { show } from '../formats/json.ts';
import { sizeOf } from '../tensor.ts';
import { blockOf, encode, type GgmlType, ggmlBytes, ggmlId } from './ggml.ts';

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
  const keys = Object.entries(metadata);
  const entries = Object.entries(tensors);
  const out = new ByteWriter();
  out.bytes(utf8('GGUF'));
  out.u32(VERSION);
  out.u64(entries.length);
  out.u64(keys.length);
  for (const [key, value] of keys) {
    out.text(key);
    writeValue(out, value);
  }
  let offset = 0;
  for (const [name, { type, shape }] of entries) {
    checkTensor(name, type, shape);
    out.text(name);
    out.u32(shape.length);
    for (const extent of shape.toReversed()) out.u64(extent);
    out.u32(ggmlId(type));
    out.u64(offset);
    offset = align(offset + ggmlBytes(type, sizeOf(shape)));
  }
  return pieces(padded(out.done()), entries, onProgress);
}

const align = (size: number): number => Math.ceil(size / ALIGNMENT) * ALIGNMENT;
const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text);

function checkTensor(name: string, type: GgmlType, shape: readonly number[]): void {
  const where = `gguf: tensor ${show(name)}`;
  const bytes = utf8(name).length;
  if (bytes < 1 || bytes > MOST_NAME_BYTES)
    throw new RangeError(`${where}: name expected 1 to ${MOST_NAME_BYTES} bytes; got ${bytes}`);
  if (shape.length < 1 || shape.length > MOST_AXES || !shape.every(n => Number.isSafeInteger(n) && n > 0))
    throw new RangeError(`${where}: shape expected 1 to ${MOST_AXES} positive sizes; got ${show(shape)}`);
  const block = blockOf(type);
  if (shape.at(-1)! % block !== 0)
    throw new RangeError(`${where}: ${type} expected rows of a multiple of ${block}; got ${show(shape)}`);
}

function writeValue(out: ByteWriter, [type, value]: GgufValue): void {
  if (type === 'i32[]' || type === 'string[]') {
    const element = type === 'i32[]' ? 'i32' : 'string';
    out.u32(TYPE_IDS.array);
    out.u32(TYPE_IDS[element]);
    out.u64(value.length);
    for (const item of value) element === 'i32' ? out.i32(item as number) : out.text(item as string);
    return;
  }
  out.u32(TYPE_IDS[type]);
  if (type === 'string') out.text(value);
  else if (type === 'bool') out.bytes(Uint8Array.of(value ? 1 : 0));
  else if (type === 'f32') out.f32(value);
  else out.u32(value);
}

function* pieces(
  header: Uint8Array,
  tensors: readonly (readonly [string, GgufTensor])[],
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
    const bytes = ggmlBytes(type, size);
    if (align(bytes) > bytes) yield new Uint8Array(align(bytes) - bytes);
    onProgress(i + 1, tensors.length);
  }
}

function padded(bytes: Uint8Array): Uint8Array {
  const whole = new Uint8Array(align(bytes.length));
  whole.set(bytes);
  return whole;
}

/** Bytes that grow: a header holds a vocabulary, whose size is known only at its end. */
class ByteWriter {
  #bytes = new Uint8Array(1 << 12);
  #size = 0;

  #room(size: number): DataView {
    const needed = this.#size + size;
    if (needed > this.#bytes.length) {
      const grown = new Uint8Array(2 * needed);
      grown.set(this.#bytes);
      this.#bytes = grown;
    }
    const view = new DataView(this.#bytes.buffer, this.#size);
    this.#size = needed;
    return view;
  }

  u32 = (value: number): void => this.#room(4).setUint32(0, value, true);
  i32 = (value: number): void => this.#room(4).setInt32(0, value, true);
  f32 = (value: number): void => this.#room(4).setFloat32(0, value, true);
  u64 = (value: number): void => this.#room(8).setBigUint64(0, BigInt(value), true);

  bytes(value: Uint8Array): void {
    this.#room(value.length);
    this.#bytes.set(value, this.#size - value.length);
  }

  text(value: string): void {
    const bytes = utf8(value);
    this.u64(bytes.length);
    this.bytes(bytes);
  }

  done = (): Uint8Array => this.#bytes.subarray(0, this.#size);
}
