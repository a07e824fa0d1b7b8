/**
 * The weights of a checkpoint folder: one file or shards with their index, safetensors or else what torch.save wrote.
 * Nothing is read before it is asked for.
 *
 * Names and shapes are those that the model reads: state-spaces' `backbone.embedding.weight` goes by Hugging Face's
 * `backbone.embeddings.weight`, what a wrapper or the lack of a head did to the names is undone, and `conv1d.weight`
 * [d, 1, k] is [d, k].
 */
import type { Tensor } from '../tensor.ts';
import type { ByteSource, Folder } from './bytes.ts';
import { isObject, readJson, show } from './json.ts';
import { readPytorch } from './pytorch.ts';
import { readSafetensors, type Stored, type TensorSource, tensorSource } from './safetensors.ts';

/** By the names and in the shapes that the model reads. `name` is the file, or the index of the shards. */
export interface WeightSource extends TensorSource {
  /** Closes the files; what was read stays. */
  close(): void;
}

type Read = (source: ByteSource) => TensorSource;
/** The formats by their file, the first one that a folder has counts. It is there whole, or as an index of shards. */
const FORMATS: Readonly<Record<string, Read>> = {
  'model.safetensors': readSafetensors,
  'pytorch_model.bin': readPytorch,
};
export const WEIGHT_FILES: readonly string[] = Object.keys(FORMATS);
export const indexOf = (file: string): string => `${file}.index.json`;

/** Whether the folder has weights in a format that is known. */
export const hasWeights = (folder: Folder): boolean =>
  WEIGHT_FILES.flatMap(file => [file, indexOf(file)]).some(file => folder.list().includes(file));

/** @throws Error when the folder has no weights, or what it has is broken or does not agree with its index. */
export function openWeights(folder: Folder): WeightSource {
  const files = folder.list();
  for (const [file, read] of Object.entries(FORMATS)) {
    const index = indexOf(file);
    if (files.includes(file)) return open(folder, read, file, [file], {});
    if (!files.includes(index)) continue;
    const shards = shardOf(folder, index);
    return open(folder, read, index, [...new Set(Object.values(shards))].sort(), shards);
  }
  const names = WEIGHT_FILES.join(' or ');
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

interface Found extends Stored {
  readonly file: TensorSource;
  /** What the file calls it. */
  readonly name: string;
}

function open(
  folder: Folder,
  read: Read,
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
      return read(source);
    });
    const found = collect(files);
    for (const [tensor, shard] of Object.entries(index))
      if (found.get(tensor)?.file !== files[shards.indexOf(shard)])
        throw new Error(`${name}: tensor ${show(tensor)} is not in ${show(shard)}`);
    return { ...tensorSource(name, underModelNames(found, name), readFound), close };
  } catch (error) {
    close();
    throw error;
  }
}

const readFound = ({ file, name, shape }: Found): Tensor => ({ ...file.read(name), shape });

/** The tensors of all files, by the names in them. */
function collect(files: readonly TensorSource[]): Map<string, Found> {
  const found = new Map<string, Found>();
  for (const file of files)
    for (const [name, { dtype, shape }] of file.tensors) {
      const other = found.get(name);
      if (other) throw new Error(`${file.name}: tensor ${show(name)} is also in ${other.file.name}`);
      found.set(name, { file, name, dtype, shape: shapeAsRead(name, shape) });
    }
  return found;
}

/** The kernels of a depthwise convolution have no axis of inputs, and an A that has one value for each head is a matrix too. */
function shapeAsRead(name: string, shape: readonly number[]): readonly number[] {
  if (name.endsWith('.conv1d.weight') && shape.length === 3 && shape[1] === 1) return [shape[0], shape[2]];
  return name.endsWith('.A_log') && shape.length === 1 ? [shape[0], 1] : shape;
}

/** The way back: as others store it. */
export function shapeAsStored(name: string, shape: readonly number[]): readonly number[] {
  const [first, last] = shape;
  if (name.endsWith('.conv1d.weight')) return [first, 1, last];
  return name.endsWith('.A_log') && last === 1 ? [first] : shape;
}

/** What torch.compile, DataParallel and trainers put before a model's names, and some of them between their parts. */
const WRAPPERS = /^(?:(?:_orig_mod|module|model)\.)+|(?<=\.)(?:_orig_mod|_fsdp_wrapped_module)\./g;
/** The parts of a model that was saved without its head, and so without the name that it has beside it. */
const BARE = /^(?:embeddings?|embed_tokens|layers|norm_f|norm|final_layernorm)\./;

/** `model.` is the name of a transformer's parts, as it is a wrapper's of a Mamba. */
const isTransformer = (names: Iterable<string>): boolean =>
  [...names].some(name => name.replace(WRAPPERS, '') === 'embed_tokens.weight');

function modelName(name: string, root: string): string {
  const own = name.replace(WRAPPERS, '').replace(BARE, `${root}.$&`);
  return own === 'backbone.embedding.weight' ? 'backbone.embeddings.weight' : own;
}

/** A tensor keeps its name where another has its model's already. */
function underModelNames(found: ReadonlyMap<string, Found>, file: string): Map<string, Found> {
  const root = isTransformer(found.keys()) ? 'model' : 'backbone';
  const named = new Map<string, Found>();
  for (const [name, tensor] of found) {
    const its = modelName(name, root);
    const own = found.has(its) ? name : its;
    const other = named.get(own)?.name;
    if (other !== undefined)
      throw new Error(`${file}: tensors ${show(other)} and ${show(name)} are both the model's ${own}`);
    named.set(own, tensor);
  }
  return named;
}
