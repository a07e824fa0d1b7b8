/**
 * The weights of a checkpoint folder: one safetensors file, or shards with their index. Nothing is read before it is
 * asked for.
 *
 * Names and shapes are those that the model reads: state-spaces' `backbone.embedding.weight` goes by Hugging Face's
 * `backbone.embeddings.weight`, and `conv1d.weight` [d, 1, k] is [d, k].
 */
import type { Tensor } from '../tensor.ts';
import type { ByteSource, Folder } from './bytes.ts';
import { isObject, readJson, show } from './json.ts';
import { readSafetensors, type SafetensorsFile, type StoredDType } from './safetensors.ts';

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

const SINGLE = 'model.safetensors';
const INDEX = 'model.safetensors.index.json';
const CONVERT =
  `python -c "import torch; from safetensors.torch import save_file; ` +
  `w = torch.load('pytorch_model.bin', map_location='cpu', weights_only=True); ` +
  `save_file({k: v.clone() for k, v in w.items()}, '${SINGLE}')"`;

/** @throws Error when the folder has no safetensors, or what it has is broken or does not agree with its index. */
export function openWeights(folder: Folder): WeightSource {
  const files = folder.list();
  if (files.includes(SINGLE)) return open(folder, SINGLE, [SINGLE], {});
  if (files.includes(INDEX)) {
    const index = shardOf(folder);
    return open(folder, INDEX, [...new Set(Object.values(index))].sort(), index);
  }
  const pickle = files.find(file => /\.(bin|pt|pth|ckpt)$/.test(file));
  if (pickle)
    throw new Error(
      `${folder.name}/${pickle}: pickled checkpoints are not read, since they can run code; convert it once: ${CONVERT}`,
    );
  throw new Error(`${folder.name}: expected ${SINGLE} or ${INDEX}; found neither`);
}

/** The index: the shard of every tensor. */
function shardOf(folder: Folder): Readonly<Record<string, string>> {
  const where = `${folder.name}/${INDEX}`;
  const index = readJson(folder, INDEX);
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
  readonly file: SafetensorsFile;
  readonly name: string;
}

function open(
  folder: Folder,
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
      return readSafetensors(source);
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

function collect(files: readonly SafetensorsFile[]): Map<string, Stored> {
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
