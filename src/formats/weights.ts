/**
 * The weights of a checkpoint folder: one file or shards with their index, safetensors or else what torch.save wrote.
 * Nothing is read before it is asked for.
 *
 * Names and shapes are those that the model reads: state-spaces' `backbone.embedding.weight` goes by Hugging Face's
 * `backbone.embeddings.weight`, and `conv1d.weight` [d, 1, k] is [d, k].
 */
import type { Tensor } from '../tensor.ts';
import type { ByteSource, Folder } from './bytes.ts';
import { isObject, readJson, show } from './json.ts';
import { readPytorch, type TensorFile } from './pytorch.ts';
import { readSafetensors, type StoredDType } from './safetensors.ts';

export interface WeightSource {
  /** The file, or the index of the shards. */
  readonly name: string;
  /** The texts of the file's `__metadata__`, or of all shards'. */
  readonly metadata: Readonly<Record<string, string>>;
  names(): readonly string[];
  has(name: string): boolean;
  /** As it is stored. */
  dtype(name: string): StoredDType;
  shape(name: string): readonly number[];
  /** @throws Error, TypeError or RangeError as `SafetensorsFile.read` does. */
  read(name: string): Tensor;
  /** Closes the files; what was read stays. */
  close(): void;
}

/** The formats, the first one that a folder has counts. Each as one file, or as an index of shards. */
const FORMATS = [
  { single: 'model.safetensors', read: readSafetensors },
  { single: 'pytorch_model.bin', read: readPytorch },
] as const satisfies readonly { single: string; read: (source: ByteSource) => TensorFile }[];
type Format = (typeof FORMATS)[number];

/** Whether the folder has weights in a format that is known. */
export const hasWeights = (folder: Folder): boolean =>
  FORMATS.some(({ single }) => [single, `${single}.index.json`].some(file => folder.list().includes(file)));

/** @throws Error when the folder has no weights, or what it has is broken or does not agree with its index. */
export function openWeights(folder: Folder): WeightSource {
  const files = folder.list();
  for (const format of FORMATS) {
    const { single } = format;
    const index = `${single}.index.json`;
    if (files.includes(single)) return open(folder, format, single, [single], {});
    if (!files.includes(index)) continue;
    const shards = shardOf(folder, index);
    return open(folder, format, index, [...new Set(Object.values(shards))].sort(), shards);
  }
  const names = FORMATS.map(({ single }) => single).join(' or ');
  const other = files.find(file => /\.(bin|pt|pth|ckpt)$/.test(file));
  if (other) throw new Error(`${folder.name}/${other}: weights are expected under the name ${names}`);
  throw new Error(`${folder.name}: expected ${names}, or the index of its shards; found none`);
}

/** The index: the shard of every tensor. */
function shardOf(folder: Folder, file: string): Readonly<Record<string, string>> {
  const where = `${folder.name}/${file}`;
  const index = readJson(folder, file);
  const map = isObject(index) ? index.weight_map : undefined;
  if (!isObject(map)) throw new Error(`${where}: weight_map expected an object; got ${show(map)}`);
  const files = new Set(folder.list());
  for (const [name, shard] of Object.entries(map)) {
    if (typeof shard !== 'string' || !/^[^/\\\0]+$/.test(shard) || shard === '..')
      throw new Error(
        `${where}: shard of ${show(name)} expected the name of a file in its folder; got ${show(shard)}`,
      );
    if (!files.has(shard))
      throw new Error(`${where}: tensor ${show(name)} is in ${show(shard)}, which is not in the folder`);
  }
  return map as Readonly<Record<string, string>>;
}

interface Stored {
  readonly file: TensorFile;
  readonly name: string;
}

function open(
  folder: Folder,
  format: Format,
  main: string,
  shards: readonly string[],
  index: Readonly<Record<string, string>>,
): WeightSource {
  const name = `${folder.name}/${main}`;
  const sources: ByteSource[] = [];
  const close = () => {
    for (const source of sources) source.close();
  };
  try {
    const files = shards.map(shard => {
      const source = folder.open(shard);
      sources.push(source);
      return format.read(source);
    });
    const stored = collect(files);
    for (const [tensor, shard] of Object.entries(index))
      if (stored.get(tensor)?.file !== files[shards.indexOf(shard)])
        throw new Error(`${name}: tensor ${show(tensor)} is not in ${show(shard)}`);
    return view(name, underModelNames(stored), Object.assign({}, ...files.map(file => file.metadata)), close);
  } catch (error) {
    close();
    throw error;
  }
}

function collect(files: readonly TensorFile[]): Map<string, Stored> {
  const stored = new Map<string, Stored>();
  for (const file of files)
    for (const name of file.tensors.keys()) {
      const other = stored.get(name);
      if (other) throw new Error(`${file.name}: tensor ${show(name)} is also in ${other.file.name}`);
      stored.set(name, { file, name });
    }
  return stored;
}

function underModelNames(stored: ReadonlyMap<string, Stored>): Map<string, Stored> {
  const alias = (name: string) =>
    name === 'backbone.embedding.weight' && !stored.has('backbone.embeddings.weight')
      ? 'backbone.embeddings.weight'
      : name;
  return new Map([...stored].map(([name, tensor]) => [alias(name), tensor]));
}

function view(
  name: string,
  stored: ReadonlyMap<string, Stored>,
  metadata: WeightSource['metadata'],
  close: () => void,
): WeightSource {
  const find = (tensor: string): Stored => {
    const found = stored.get(tensor);
    if (!found) throw new Error(`${name}: no tensor ${show(tensor)}`);
    return found;
  };
  const entry = (tensor: string) => {
    const found = find(tensor);
    return found.file.tensors.get(found.name)!;
  };
  const shape = (tensor: string): readonly number[] => {
    const { shape } = entry(tensor);
    const depthwise = tensor.endsWith('.conv1d.weight') && shape.length === 3 && shape[1] === 1;
    return depthwise ? [shape[0], shape[2]] : shape;
  };
  return {
    name,
    metadata,
    names: () => [...stored.keys()],
    has: tensor => stored.has(tensor),
    dtype: tensor => entry(tensor).dtype,
    shape,
    read(tensor) {
      const found = find(tensor);
      return { ...found.file.read(found.name), shape: shape(tensor) };
    },
    close,
  };
}
