/**
 * CUDA: the reference's bits on an NVIDIA GPU, by the shared library of cuda/. Ops run one by one, each on copies of its
 * tensors: for conformance, not yet for speed.
 *
 *   const found = cuda();
 *   if ('why' in found) console.log(`no CUDA: ${found.why}`);
 *   else prepare(found.backend, program);
 */
import type { AnyOp, Attrs } from '../../op.ts';
import type { AnyKernel } from '../../run.ts';
import type { Tensor } from '../../tensor.ts';
import type { Backend } from '../backend.ts';
import { DTYPES, MAX_RANK, STATUS, signatureOf } from './abi.ts';
import {
  type Device,
  type Library,
  loadLibrary,
  type NativeAttribute,
  type NativeTensor,
} from './library.ts';

export type { Device } from './library.ts';

/** What runs it. */
export interface CudaInfo {
  readonly device: Device;
  readonly library: string;
  /** The architectures with machine code in the library. */
  readonly builtFor: string;
}

/** The backend and the GPU behind it; else why there is none, in one sentence. */
export function cuda(
  path?: string,
): { readonly backend: Backend; readonly about: CudaInfo } | { readonly why: string } {
  const found = loadLibrary(path);
  if ('why' in found) return found;
  const { library } = found;
  return {
    backend: backendOf(library),
    about: { device: library.device, library: library.path, builtFor: library.builtFor },
  };
}

/** @internal The ops that the library lists with the signature they have here. */
export const backendOf = (library: Library): Backend => ({
  name: 'cuda',
  kernelOf: op => (library.signatures.has(signatureOf(op)) ? kernelOf(library, op) : undefined),
});

function kernelOf(library: Library, op: AnyOp): AnyKernel {
  return (inputs, attrs, outputs) => {
    const status = library.op(op.name, tensors(inputs), attributes(attrs), tensors(outputs));
    if (status === STATUS.OK) return;
    const text = library.error();
    throw status === STATUS.BAD_VALUE || status === STATUS.WRONG_CALL
      ? new RangeError(text) // in the reference's words
      : new Error(`backend cuda: ${text}`);
  };
}

const tensors = (named: Readonly<Record<string, Tensor | undefined>>): NativeTensor[] =>
  Object.entries(named).flatMap(([name, t]) =>
    t === undefined
      ? []
      : [
          {
            name,
            dtype: DTYPES[t.dtype],
            rank: t.shape.length,
            shape: Array.from({ length: MAX_RANK }, (_, i) => t.shape[i] ?? 0),
            data: t.data,
          },
        ],
  );

const attributes = (attrs: Attrs): NativeAttribute[] =>
  Object.entries(attrs).map(([name, value]) =>
    typeof value === 'string'
      ? { name, number: 0, text: value }
      : { name, number: Number(value), text: null },
  );
