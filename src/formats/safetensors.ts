/**
 * Safetensors: a JSON header, then the tensors' bytes, little-endian and row-major.
 *
 *   u64 n │ n bytes of JSON: {"name": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}, …} │ data
 *
 * The file is taken as hostile. Every number of the header is checked before it is used, and the tensors must cover the
 * data exactly, without overlap or hole; so nothing is ever allocated that the file does not really hold.
 *
 * Source  https://github.com/huggingface/safetensors, README § Format
 */
import { ARRAYS, type Data, sizeOf, type Tensor, zeros } from '../tensor.ts';
import { type ByteSource, bytesOf } from './bytes.ts';
import { narrowBF16, narrowF16, widenBF16, widenF16 } from './half.ts';
import { isObject, isSize, type JsonObject, parseJson, show } from './json.ts';
import { BEGINNING, standIn } from './stand-in.ts';

/** Bytes for each value. A file may hold all of these; `read` knows those of `DTYPES`. */
// biome-ignore format: a table
export const WIDTHS = {
  F64: 8, I64: 8, U64: 8, C64: 8,
  F32: 4, I32: 4, U32: 4,
  F16: 2, BF16: 2, I16: 2, U16: 2,
  BOOL: 1, U8: 1, I8: 1, F8_E4M3: 1, F8_E5M2: 1, F8_E8M0: 1,
  F6_E2M3: 0.75, F6_E3M2: 0.75, F4: 0.5,
} as const;
type StoredDType = keyof typeof WIDTHS;

/** What a stored dtype becomes in memory. */
export const DTYPES = {
  F32: 'f32',
  F16: 'f32',
  BF16: 'f32',
  F64: 'f32',
  I8: 'i8',
  I32: 'i32',
  I64: 'i32',
} as const;

const MOST_HEADER_BYTES = 100_000_000; // the official limit
/** Values converted at a time: the memory that a read or write needs besides the tensor. */
const CHUNK = 1 << 16;

/** How a tensor is stored. */
export interface Stored {
  readonly dtype: StoredDType;
  readonly shape: readonly number[];
}
export interface Entry extends Stored {
  /** Where its bytes are in the file: begin … end−1. */
  readonly begin: number;
  readonly end: number;
}

/** Named tensors, whatever the format of their file. */
export interface TensorSource<S extends Stored = Stored> {
  readonly name: string;
  readonly tensors: ReadonlyMap<string, S>;
  has(name: string): boolean;
  /**
   * One tensor: F32, F16, BF16 and F64 (rounded) as f32, I8 as i8, I32 and I64 as i32.
   *
   * @throws Error when there is no such tensor; TypeError on another dtype; RangeError when a float is not finite (see
   * `readSafetensors`) or an I64 does not fit.
   */
  read(name: string): Tensor;
}

export interface SafetensorsFile extends TensorSource<Entry> {
  /** The texts of `__metadata__`. */
  readonly metadata: Readonly<Record<string, string>>;
}

/** `read` gives the tensor that is stored so; its errors begin with `where`. */
export function tensorSource<S extends Stored>(
  name: string,
  tensors: ReadonlyMap<string, S>,
  read: (stored: S, where: string) => Tensor,
): TensorSource<S> {
  return {
    name,
    tensors,
    has: tensor => tensors.has(tensor),
    read(tensor) {
      const stored = tensors.get(tensor);
      if (!stored) throw new Error(`${name}: no tensor ${show(tensor)}`);
      return read(stored, `${name}: tensor ${show(tensor)}`);
    },
  };
}

/**
 * Reads and checks the header; tensors are read when asked for. With `finite` (the default) a float tensor that holds
 * NaN or an infinity is refused: as a weight it would turn every logit into NaN.
 *
 * @throws Error when the file is not a valid safetensors file.
 */
export function readSafetensors(source: ByteSource, { finite = true } = {}): SafetensorsFile {
  const { name: file } = source;
  const dataStart = 8 + headerLength(source);
  const bytes = source.read(8, dataStart);
  if (bytes[0] !== 0x7b) throw new Error(`${file}: header expected a JSON object, beginning with {`);
  const header = parseJson(bytes, `${file}: header`) as JsonObject;
  const { __metadata__: metadata = {}, ...rest } = header;
  if (!isTexts(metadata))
    throw new Error(`${file}: __metadata__ expected an object of texts; got ${show(metadata)}`);
  const checked = (name: string) => checkEntry(`${file}: tensor ${show(name)}`, rest[name], dataStart);
  const tensors = new Map(Object.keys(rest).map(name => [name, checked(name)]));
  checkCover(file, tensors, dataStart, source.size);
  const read = (entry: Entry, where: string) => readTensor(source, entry, where, finite);
  return { ...tensorSource(file, tensors, read), metadata };
}

const isTexts = (value: unknown): value is SafetensorsFile['metadata'] =>
  isObject(value) && Object.values(value).every(text => typeof text === 'string');

function headerLength(source: ByteSource): number {
  const { name: file, size } = source;
  if (size < 8) throw new Error(`${file}: expected a safetensors file of at least 8 bytes; got ${size}`);
  const head = source.read(0, 8);
  const length = new DataView(head.buffer, head.byteOffset).getBigUint64(0, true);
  if (length > MOST_HEADER_BYTES) {
    const header = `header expected at most ${MOST_HEADER_BYTES} bytes; its length says ${length}`;
    throw new Error(`${file}: ${standIn(source.read(0, Math.min(size, BEGINNING))) ?? header}`);
  }
  if (length > size - 8)
    throw new Error(`${file}: header of ${length} bytes does not fit in a file of ${size}; is it cut off?`);
  return Number(length);
}

const areSizes = (value: unknown): value is number[] => Array.isArray(value) && value.every(isSize);

function checkEntry(where: string, entry: unknown, dataStart: number): Entry {
  if (!isObject(entry)) throw new Error(`${where} expected an object; got ${show(entry)}`);
  const { dtype, shape, data_offsets: offsets } = entry;
  if (typeof dtype !== 'string' || !Object.hasOwn(WIDTHS, dtype))
    throw new Error(`${where}: dtype expected one of ${Object.keys(WIDTHS).join(', ')}; got ${show(dtype)}`);
  if (!areSizes(shape))
    throw new Error(`${where}: shape expected whole numbers from 0 on; got ${show(shape)}`);
  if (!areSizes(offsets) || offsets.length !== 2 || offsets[0] > offsets[1])
    throw new Error(
      `${where}: data_offsets expected [begin, end] with 0 <= begin <= end; got ${show(offsets)}`,
    );

  const bytes = shape.reduce((size, extent) => size * extent, WIDTHS[dtype as StoredDType]);
  const [begin, end] = offsets;
  if (bytes !== end - begin)
    throw new Error(
      `${where}: ${dtype}${show(shape)} has ${bytes} bytes; data_offsets ${show(offsets)} say ${end - begin}`,
    );
  return { dtype: dtype as StoredDType, shape, begin: dataStart + begin, end: dataStart + end };
}

type Entries = ReadonlyMap<string, Entry>;
function checkCover(file: string, tensors: Entries, dataStart: number, size: number): void {
  const inOrder = [...tensors].sort(([, a], [, b]) => a.begin - b.begin || a.end - b.end);
  let covered = dataStart;
  for (const [name, { begin, end }] of inOrder) {
    if (begin !== covered)
      throw new Error(
        `${file}: tensor ${show(name)} begins at byte ${begin} of the file; ` +
          `${begin < covered ? 'the tensor before it ends' : 'nothing covers the bytes from'} ${covered}`,
      );
    covered = end;
  }
  if (covered !== size)
    throw new Error(`${file}: tensors end at byte ${covered}, the file at ${size}; is it cut off?`);
}

/** The values of one tensor, from where its entry says they are: see `TensorSource.read`. */
export function readTensor(source: ByteSource, entry: Entry, where: string, finite = true): Tensor {
  const { shape, begin, end } = entry;
  if (!Object.hasOwn(DTYPES, entry.dtype))
    throw new TypeError(`${where}: expected one of ${Object.keys(DTYPES).join(', ')}; got ${entry.dtype}`);
  const dtype = entry.dtype as keyof typeof DTYPES;
  const width = WIDTHS[dtype];
  const size = (end - begin) / width;
  const { data } = allocate(where, () => zeros(DTYPES[dtype], [size]));
  // Typed arrays have the machine's byte order; every engine that runs WebAssembly is little-endian, as the file is.
  if (dtype === 'F32' || dtype === 'I8' || dtype === 'I32') source.readInto(bytesOf(data), begin);
  else {
    const chunk = new Uint8Array(Math.min(size, CHUNK) * width);
    for (let at = 0; at < size; at += CHUNK) {
      const count = Math.min(CHUNK, size - at);
      source.readInto(chunk.subarray(0, count * width), begin + at * width);
      if (dtype === 'I64')
        narrowI64(where, new Int32Array(chunk.buffer, 0, 2 * count), data as Int32Array, at);
      else if (dtype === 'F64') data.set(new Float64Array(chunk.buffer, 0, count), at);
      else {
        const widen = dtype === 'F16' ? widenF16 : widenBF16;
        widen(new Uint16Array(chunk.buffer, 0, count), bitsOf(data as Float32Array, at, count));
      }
    }
  }
  if (finite && data instanceof Float32Array) checkFinite(where, data);
  return { dtype: DTYPES[dtype], shape, data } as Tensor;
}

function allocate<T>(where: string, make: () => T): T {
  try {
    return make();
  } catch {
    throw new RangeError(`${where}: does not fit in memory`);
  }
}

/** Pairs of i32, low half first → i32. */
function narrowI64(where: string, pairs: Int32Array, data: Int32Array, at: number): void {
  for (let i = 0; i < pairs.length / 2; i++) {
    const low = pairs[2 * i];
    if (pairs[2 * i + 1] !== low >> 31)
      throw new RangeError(`${where}: value at index ${at + i} does not fit in 32 bits`);
    data[at + i] = low;
  }
}

function checkFinite(where: string, data: Float32Array): void {
  const bits = bitsOf(data);
  for (let i = 0; i < bits.length; i++)
    if ((bits[i] & 0x7f800000) === 0x7f800000)
      throw new RangeError(`${where}: expected finite values; got ${data[i]} at index ${i}`);
}

const bitsOf = (data: Float32Array, at = 0, count = data.length): Uint32Array =>
  new Uint32Array(data.buffer, data.byteOffset + 4 * at, count);

const WRITABLE = ['F32', 'F16', 'BF16', 'I8', 'I32'] as const;

/** A tensor to write. `data` is read once, when its bytes are due: a getter may make it then. */
export interface Writable {
  readonly dtype: (typeof WRITABLE)[number];
  readonly shape: readonly number[];
  /** Float32Array for F32, F16 and BF16, Int8Array for I8, Int32Array for I32. */
  readonly data: Data;
}

/**
 * The file's bytes, piece by piece. Equal contents give equal bytes, whatever the order in which they came: wide dtypes
 * first, so that every tensor is aligned, then by name; the header is padded to 8 bytes with spaces.
 *
 * @param options `finite`, the default, refuses NaN and infinite values, as `readSafetensors` does.
 * @throws TypeError or RangeError when a name, shape or dtype cannot be written, at once; and when `data` does not fit its
 * shape and dtype, or holds a value that is refused or that F16 or BF16 does not have (nothing is rounded here), when its turn comes.
 */
export function writeSafetensors(
  tensors: Iterable<readonly [name: string, tensor: Writable]>,
  metadata: Readonly<Record<string, string>> = {},
  { finite = true } = {},
): Iterable<Uint8Array> {
  const sorted = [...tensors].sort(
    ([a, { dtype: x }], [b, { dtype: y }]) => WIDTHS[y] - WIDTHS[x] || (a < b ? -1 : 1),
  );
  const header: Record<string, unknown> = Object.create(null);
  const texts = Object.entries(metadata).sort(([a], [b]) => (a < b ? -1 : 1));
  for (const [key, text] of texts)
    if (typeof text !== 'string' || !isWellFormed(key + text))
      throw new TypeError(`safetensors: metadata ${show(key)} expected Unicode text; got ${show(text)}`);
  if (texts.length) header.__metadata__ = Object.fromEntries(texts);

  let offset = 0;
  for (const [name, { dtype, shape }] of sorted) {
    const where = `safetensors: tensor ${show(name)}`;
    if (name in header || name === '__metadata__') throw new RangeError(`${where}: name is taken`);
    if (!isWellFormed(name)) throw new RangeError(`${where}: name expected Unicode text`);
    if (!WRITABLE.includes(dtype))
      throw new TypeError(`${where}: dtype expected one of ${WRITABLE.join(', ')}; got ${show(dtype)}`);
    const bytes = shape.reduce((size, extent) => size * extent, WIDTHS[dtype]);
    if (!areSizes(shape) || !Number.isSafeInteger(offset + bytes))
      throw new RangeError(`${where}: shape expected whole numbers from 0 on; got ${show(shape)}`);
    header[name] = { dtype, shape, data_offsets: [offset, (offset += bytes)] };
  }
  const json = new TextEncoder().encode(JSON.stringify(header));
  const padded = new Uint8Array(8 + Math.ceil(json.length / 8) * 8).fill(0x20);
  new DataView(padded.buffer).setBigUint64(0, BigInt(padded.length - 8), true);
  padded.set(json, 8);
  return pieces(padded, sorted, finite);
}

type Tensors = readonly (readonly [string, Writable])[];
function* pieces(header: Uint8Array, tensors: Tensors, finite: boolean): Generator<Uint8Array> {
  yield header;
  for (const [name, tensor] of tensors) {
    const { dtype, shape, data } = tensor;
    const where = `safetensors: tensor ${show(name)}`;
    const array = ARRAYS[DTYPES[dtype]];
    if (!(data instanceof array))
      throw new TypeError(`${where}: ${dtype} expected a ${array.name}; got ${data?.constructor.name}`);
    const size = sizeOf(shape);
    if (data.length !== size)
      throw new RangeError(`${where}: ${dtype}${show(shape)} has ${size} values; got ${data.length}`);
    if (finite && data instanceof Float32Array) checkFinite(where, data);
    if (dtype === 'F16' || dtype === 'BF16') yield* narrowed(where, dtype, data as Float32Array);
    else yield bytesOf(data);
  }
}

function* narrowed(where: string, dtype: 'F16' | 'BF16', data: Float32Array): Generator<Uint8Array> {
  const narrow = dtype === 'F16' ? narrowF16 : narrowBF16;
  for (let at = 0; at < data.length; at += CHUNK) {
    const bits = bitsOf(data, at, Math.min(CHUNK, data.length - at));
    const halves = new Uint16Array(bits.length);
    const bad = narrow(bits, halves);
    const index = at + bad;
    if (bad >= 0)
      throw new RangeError(`${where}: ${dtype} does not have the value ${data[index]} (index ${index})`);
    yield bytesOf(halves);
  }
}

/** Whether the text has no lone surrogates, and so a form in UTF-8. */
const isWellFormed = (text: string): boolean => !/\p{Surrogate}/u.test(text);
