/** Reads the goldens: PyTorch's results beside the inputs that gave them (golden/README.md). */
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { KeptStates } from '../../src/op.ts';
import type { StateType } from '../../src/state.ts';
import { type Tensor, tensor } from '../../src/tensor.ts';

export const folder = fileURLToPath(new URL('../../golden', import.meta.url));

export interface Golden {
  readonly address: string;
  readonly attrs: Readonly<Record<string, never>>;
  readonly flags: readonly string[];
  /** Which outputs must have PyTorch's float32 bits. */
  readonly exact: (output: string) => boolean;
  /** By name without its prefix: `in.x` is inputs.x. */
  readonly inputs: Readonly<Record<string, Tensor>>;
  /** How its states are kept, where that is not f32. */
  readonly kept: KeptStates;
  readonly f32: Readonly<Record<string, Tensor<'f32'>>>;
  readonly f64: Readonly<Record<string, Values>>;
  readonly out: Readonly<Record<string, Tensor>>;
}
/** Values of any dtype, float64 too, which no tensor of ours has. */
export interface Values {
  readonly shape: readonly number[];
  readonly data: Float64Array | Float32Array | Int32Array | Int8Array;
}

const ARRAYS = { F64: Float64Array, F32: Float32Array, I32: Int32Array, I8: Int8Array } as const;

/** Token ids as PyTorch stores them. */
const narrow = (bytes: ArrayBuffer) => Int32Array.from(new BigInt64Array(bytes), Number);

/** The tensors of a golden file by name, and its metadata. */
export function readTensors(path: string) {
  const bytes = readFileSync(path);
  const start = 8 + Number(bytes.readBigUInt64LE());
  const { __metadata__: metadata, ...entries } = JSON.parse(bytes.toString('utf8', 8, start));
  const tensors: Record<string, Values> = {};
  for (const name in entries) {
    const { dtype, shape, data_offsets } = entries[name];
    const [begin, end] = data_offsets.map((offset: number) => start + offset);
    const aligned = new Uint8Array(bytes.subarray(begin, end)).buffer;
    const data = dtype === 'I64' ? narrow(aligned) : new ARRAYS[dtype as keyof typeof ARRAYS](aligned);
    tensors[name] = { shape, data };
  }
  return { tensors, metadata: metadata as Readonly<Record<string, string>> };
}

export function readGolden(address: string): Golden {
  const { tensors, metadata } = readTensors(join(folder, `${address}.safetensors`));
  const named = (prefix: string) =>
    Object.entries(tensors).flatMap(([name, values]) =>
      name.startsWith(`${prefix}.`) ? [[name.slice(prefix.length + 1), values] as const] : [],
    );
  const asTensors = (prefix: string) =>
    Object.fromEntries(named(prefix).map(([name, { data, shape }]) => [name, tensor(data as never, shape)]));
  const exact = (metadata.exact ?? '').split(' ');
  const inputs = asTensors('in');
  const dtypes: Readonly<Record<string, StateType['dtype']>> = JSON.parse(metadata.kept ?? '{}');
  const kept = Object.fromEntries(
    Object.entries(dtypes).map(([key, dtype]) => {
      const { [`${key}.scale`]: scale } = inputs;
      delete inputs[`${key}.scale`];
      return [key, { dtype, ...(scale && { scale: scale.data as Float32Array }) }];
    }),
  );
  return {
    address,
    attrs: JSON.parse(metadata.attrs),
    flags: JSON.parse(metadata.flags),
    exact: output => exact.includes('true') || exact.includes(output),
    inputs,
    kept,
    f32: asTensors('f32') as Record<string, Tensor<'f32'>>,
    f64: Object.fromEntries(named('f64')),
    out: asTensors('out'),
  };
}

/** The folders of golden/ that hold cases, with the names of their cases. */
export const goldenFolders = (): Readonly<Record<string, readonly string[]>> =>
  Object.fromEntries(
    readdirSync(folder, { withFileTypes: true }).flatMap(entry => {
      const files = entry.isDirectory() ? readdirSync(join(folder, entry.name)) : [];
      const cases = files.flatMap(file =>
        file.endsWith('.safetensors') ? basename(file, '.safetensors') : [],
      );
      return cases.length ? [[entry.name, cases.sort()]] : [];
    }),
  );

export interface Manifest {
  readonly made: Readonly<Record<string, string | number>>;
  readonly files: Readonly<Record<string, { readonly sha256: string }>>;
}
export const manifest = (): Manifest => JSON.parse(readFileSync(join(folder, 'manifest.json'), 'utf8'));

export const sha256 = (address: string): string =>
  createHash('sha256')
    .update(readFileSync(join(folder, address)))
    .digest('hex');
