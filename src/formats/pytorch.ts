/**
 * A checkpoint as `torch.save(model.state_dict(), 'pytorch_model.bin')` writes it: a zip file with a pickle, which names the
 * tensors, and one entry for each storage, which holds their values. No code of the file runs (pickle.ts); tensors are read
 * when asked for, and nothing is allocated that the file does not really hold.
 *
 *   <root>/data.pkl     {'backbone.norm_f.weight': tensor(storage '7', offset, shape, strides), …}
 *   <root>/data/7       its values, little-endian
 *
 * Two tensors may share a storage, as a head tied to its embedding does, and a tensor may be a strided view of one.
 *
 * Source  pytorch: torch/serialization.py (_save, _load), torch/_utils.py (_rebuild_tensor_v2, _rebuild_parameter)
 */
import { sizeOf, type Tensor, zeros } from '../tensor.ts';
import type { ByteSource } from './bytes.ts';
import { isSize, show } from './json.ts';
import { type Allowed, describe, type Pickled, type PickleReader, unpickle } from './pickle.ts';
import { refuse, refusing } from './refusal.ts';
import { type Entry, readTensor, type TensorSource, tensorSource, WIDTHS } from './safetensors.ts';
import { BEGINNING, standIn } from './stand-in.ts';
import { isZip, readZip, type ZipEntry } from './zip.ts';

interface Storage {
  /** What errors call it. */
  readonly name: string;
  readonly dtype: Entry['dtype'];
  /** How many values. */
  readonly count: number;
  /** Where they are in the file. */
  readonly begin: number;
}

/** A view of a storage, with the bytes from its first value to its last. Strides count values. */
interface View extends Entry {
  readonly name: string;
  readonly strides: readonly number[];
}

/** The pickle of a checkpoint of 2.8 B parameters has 100 kB. */
const MOST_PICKLE_BYTES = 1 << 24;
const MOST_AXES = 8;

/** @throws Error in one sentence, when the file is not a checkpoint or holds anything but tensors. */
export function readPytorch(source: ByteSource): TensorSource {
  const tensors = refusing(source.name, () => readViews(source));
  return tensorSource(source.name, tensors, (view, where) => readView(source, view, where));
}

function readViews(source: ByteSource): ReadonlyMap<string, View> {
  if (!isZip(source)) refuse(whyNoZip(source));
  const entries = readZip(source);
  const root = rootOf(entries);
  checkByteOrder(source, `${root}byteorder`, entries);
  const { begin, end } = entries.get(`${root}data.pkl`)!;
  if (end - begin > MOST_PICKLE_BYTES)
    refuse(`data.pkl expected at most ${MOST_PICKLE_BYTES} bytes; got ${end - begin}`);
  const reader = { allowed: ALLOWED, persistent: storages(entries, root), mayBuild } satisfies PickleReader;
  const value = unpickle(source.read(begin, end), `${source.name}/data.pkl`, reader);

  const tensors = new Map<string, View>();
  if (!(value instanceof Map)) return refuse(`expected a dictionary of tensors; got ${describe(value)}`);
  for (const [name, item] of value) {
    if (typeof name !== 'string') refuse(`name of a tensor expected a text; got ${describe(name)}`);
    if (!isView(item)) refuse(`${show(name)} expected a tensor; got ${describe(item)}`);
    tensors.set(name, item);
  }
  return tensors;
}

/** What the first bytes of a file that is not a zip file say it is. */
function whyNoZip(source: ByteSource): string {
  const first = source.read(0, Math.min(source.size, BEGINNING));
  if (first[0] === 0x80 && first[1] === 2)
    return (
      'is in the format of torch before 1.6, which is not read; write it anew once: ' +
      `python -c "import torch; torch.save(torch.load('in.bin', weights_only=True), 'out.bin')"`
    );
  const text = new TextDecoder('latin1').decode(first.subarray(0, 11));
  return (
    standIn(first) ?? `expected a checkpoint of torch.save, a zip file that begins with PK; got ${show(text)}`
  );
}

/** The folder in the zip file: `archive/`, or the file's own name. */
function rootOf(entries: ReadonlyMap<string, ZipEntry>): string {
  const pickles = [...entries.keys()].filter(name => /^[^/]+\/data\.pkl$/.test(name));
  if (pickles.length !== 1)
    return refuse(`expected one data.pkl in a folder of the zip file; got ${pickles.length}`);
  const root = pickles[0].slice(0, -'data.pkl'.length);
  if (entries.has(`${root}constants.pkl`)) refuse('is a TorchScript program, not a checkpoint');
  return root;
}

/** Later versions of torch write it. */
function checkByteOrder(source: ByteSource, name: string, entries: ReadonlyMap<string, ZipEntry>): void {
  const entry = entries.get(name);
  if (!entry) return;
  if (entry.end - entry.begin > 16) refuse(`zip entry ${show(name)} expected at most 16 bytes`);
  const order = new TextDecoder().decode(source.read(entry.begin, entry.end)).trim();
  if (order !== 'little') refuse(`zip entry ${show(name)} expected little; got ${show(order)}`);
}

// biome-ignore format: a table
const STORAGES: Readonly<Record<string, Entry['dtype']>> = {
  Float: 'F32', Half: 'F16', BFloat16: 'BF16', Double: 'F64', Long: 'I64', Int: 'I32', Short: 'I16', Char: 'I8',
  Byte: 'U8', Bool: 'BOOL',
};

interface StorageType extends Allowed {
  readonly stores: Entry['dtype'];
}

// A pickle makes texts, numbers, arrays and maps; an object with these fields comes from the table or from this file.
const has = (value: Pickled, field: string): boolean =>
  typeof value === 'object' && value !== null && field in value;
const isStorageType = (value: Pickled): value is StorageType => has(value, 'stores');
const isStorage = (value: Pickled): value is Storage => has(value, 'count');
const isView = (value: Pickled): value is View => has(value, 'strides');

/** ('storage', torch.FloatStorage, '7', 'cpu', 1234) → the entry `data/7`. */
function storages(entries: ReadonlyMap<string, ZipEntry>, root: string): (id: Pickled) => Storage {
  const known = new Map<string, Storage>();
  return id => {
    const parts = Array.isArray(id) ? id : refuse(`persistent id expected a tuple; got ${describe(id)}`);
    const [word, type, key, place, count] = parts;
    if (parts.length !== 5 || word !== 'storage' || typeof key !== 'string' || typeof place !== 'string')
      return refuse('persistent id expected (storage, type, key, place, size)');
    if (!isStorageType(type)) return refuse(`storage ${show(key)}: no storage type: ${describe(type)}`);
    if (!isSize(count)) return refuse(`storage ${show(key)}: size expected values; got ${describe(count)}`);
    const { stores: dtype } = type;
    const seen = known.get(key);
    if (seen && (seen.dtype !== dtype || seen.count !== count))
      return refuse(`storage ${show(key)} is ${seen.dtype}[${seen.count}] and ${dtype}[${count}]`);
    const entry = entries.get(`${root}data/${key}`);
    if (!entry) return refuse(`storage ${show(key)}: no zip entry ${show(`${root}data/${key}`)}`);
    const bytes = count * WIDTHS[dtype];
    if (bytes !== entry.end - entry.begin)
      return refuse(
        `storage ${show(key)}: ${dtype}[${count}] has ${bytes} bytes; its zip entry ${entry.end - entry.begin}`,
      );
    const storage = seen ?? { name: 'a storage', dtype, count, begin: entry.begin };
    known.set(key, storage);
    return storage;
  };
}

/** (storage, offset, shape, strides, requires_grad, backward_hooks) */
function rebuildTensor(args: readonly Pickled[]): View {
  const [storage, offset, shape, strides, grad, hooks] = args;
  if (args.length !== 6) refuse(`_rebuild_tensor_v2 expected 6 arguments; got ${args.length}`);
  if (!isStorage(storage)) return refuse(`tensor expected a storage; got ${describe(storage)}`);
  if (!isSize(offset)) return refuse(`offset of a tensor expected 0 or more; got ${describe(offset)}`);
  const sizes = axes('shape', shape);
  const steps = axes('strides', strides);
  if (sizes.length !== steps.length)
    refuse(`tensor has a shape of ${sizes.length} axes and strides of ${steps.length}`);
  if (typeof grad !== 'boolean') refuse(`requires_grad expected true or false; got ${describe(grad)}`);
  if (!(hooks instanceof Map) || hooks.size) refuse(`backward_hooks expected none; got ${describe(hooks)}`);

  const { dtype, count } = storage;
  const size = sizeOf(sizes);
  const span = size === 0 ? 0 : 1 + sizes.reduce((sum, extent, axis) => sum + (extent - 1) * steps[axis], 0);
  // An axis of stride 0 would make a small file a large tensor: no more values than the storage has.
  if (size > count) refuse(`tensor of shape ${show(sizes)} has more values than its storage: ${count}`);
  if (offset + span > count)
    refuse(
      `tensor of shape ${show(sizes)}, strides ${show(steps)} and offset ${offset} ends outside of its storage of ${count}`,
    );
  const begin = storage.begin + offset * WIDTHS[dtype];
  const end = begin + span * WIDTHS[dtype];
  return { name: 'a tensor', dtype, shape: sizes, strides: steps, begin, end };
}

function axes(what: string, value: Pickled): readonly number[] {
  if (!Array.isArray(value) || !value.every(isSize))
    return refuse(`${what} of a tensor expected a tuple of whole numbers from 0 on; got ${show(value)}`);
  if (value.length > MOST_AXES)
    refuse(`${what} of a tensor expected at most ${MOST_AXES} axes; got ${value.length}`);
  return value.slice();
}

/** (tensor, requires_grad, backward_hooks): a parameter is its tensor. */
function rebuildParameter(args: readonly Pickled[]): View {
  const [view] = args;
  if (args.length !== 3) refuse(`_rebuild_parameter expected 3 arguments; got ${args.length}`);
  return isView(view) ? view : refuse(`_rebuild_parameter expected a tensor; got ${describe(view)}`);
}

class OrderedDict extends Map<Pickled, Pickled> {}
const orderedDict = ({ length }: readonly Pickled[]): Pickled =>
  length ? refuse(`OrderedDict expected no arguments; got ${length}`) : new OrderedDict();
/** state_dict() keeps the versions of its modules in the attribute `_metadata` of its OrderedDict. */
const mayBuild: PickleReader['mayBuild'] = (value, state) =>
  value instanceof OrderedDict && state instanceof Map && [...state.keys()].every(key => key === '_metadata');

/** Every name that a checkpoint may say. */
const ALLOWED: PickleReader['allowed'] = new Map<string, Allowed>([
  ['torch._utils _rebuild_tensor_v2', { name: '_rebuild_tensor_v2', call: rebuildTensor }],
  ['torch._utils _rebuild_parameter', { name: '_rebuild_parameter', call: rebuildParameter }],
  ['collections OrderedDict', { name: 'OrderedDict', call: orderedDict }],
  ...Object.entries(STORAGES).map(([type, stores]): [string, StorageType] => {
    return [`torch ${type}Storage`, { name: `${type}Storage`, stores }];
  }),
]);

function readView(source: ByteSource, view: View, where: string): Tensor {
  const { shape, strides } = view;
  const spanned = readTensor(source, view, where);
  if (isRowMajor(shape, strides)) return spanned;
  const { data } = zeros(spanned.dtype, shape);
  let count = 0;
  const gather = (axis: number, at: number): void => {
    if (axis === shape.length) data[count++] = spanned.data[at];
    else for (let i = 0; i < shape[axis]; i++) gather(axis + 1, at + i * strides[axis]);
  };
  gather(0, 0);
  return { ...spanned, data } as Tensor;
}

/** An axis of one value has no step, so its stride says nothing. */
const isRowMajor = (shape: readonly number[], strides: readonly number[]): boolean =>
  sizeOf(shape) === 0 ||
  shape.every((extent, axis) => extent === 1 || strides[axis] === sizeOf(shape.slice(axis + 1)));
