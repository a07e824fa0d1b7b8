/**
 * CUDA: the reference's bits on an NVIDIA GPU, by the shared library of cuda/: whole plans (plan.ts), and each op alone, on
 * copies of its tensors, for conformance.
 *
 *   const found = cuda();
 *   if ('why' in found) console.log(`no CUDA: ${found.why}`);
 *   else prepare(found.backend, program);
 */
import type { Program } from '../../graph.ts';
import { type AnyOp, formOf, type KeptStates } from '../../op.ts';
import { verify } from '../../plan/verify.ts';
import type { AnyKernel } from '../../run.ts';
import { extent, parse } from '../../signature.ts';
import type { StateView } from '../../state.ts';
import { sizeOf, type Tensor } from '../../tensor.ts';
import { type Backend, prepare } from '../backend.ts';
import { signatureOf } from './abi.ts';
import type { Device, PlanOptions } from './functions.ts';
import { type Library, loadLibrary } from './library.ts';
import { type CudaExecutable, openPlan } from './plan.ts';
import { nativeAttributes, nativeTensors } from './tensors.ts';

export type { Decode, Precision } from './abi.ts';
export type { Bandwidth, Device, PlanOptions } from './functions.ts';
export type { CudaExecutable, CudaExecutableInfo } from './plan.ts';

/** What runs it. */
interface CudaInfo {
  readonly device: Device;
  readonly library: string;
  /** The architectures with machine code in the library. */
  readonly builtFor: string;
}

export interface Cuda {
  readonly backend: Backend;
  readonly about: CudaInfo;
  /** Uploads a plan: what `backend.prepare` does, with all that only this backend has. */
  open(plan: Program, options?: PlanOptions): CudaExecutable;
}

/** The backend and the GPU behind it; else why there is none, in one sentence. `options`: for every plan that it prepares. */
export function cuda(path?: string, options: PlanOptions = {}): Cuda | { readonly why: string } {
  const found = loadLibrary(path);
  return 'why' in found ? found : cudaOf(found.library, options);
}

/** The same, where there is no going on without. @throws Error why there is none. */
export function requireCuda(options?: PlanOptions): Cuda {
  const found = cuda(undefined, options);
  if ('why' in found) throw new Error(`backend cuda: ${found.why}`);
  return found;
}

/** @internal */
export const cudaOf = (library: Library, options: PlanOptions = {}): Cuda => ({
  backend: backendOf(library, options),
  about: { device: library.device, library: library.path, builtFor: library.builtFor },
  open: (plan, more) => openPlan(library, verify(plan, 'program'), { ...options, ...more }),
});

/** @internal The ops that the library lists with the signature they have here. Their states are kept as f32. */
export function backendOf(library: Library, options: PlanOptions = {}): Backend {
  const kernelOf = (op: AnyOp, kept?: KeptStates) =>
    library.signatures.has(signatureOf(op)) && formOf(op, kept) === op.name ? kernel(library, op) : undefined;
  const byOps: Backend = { name: 'cuda', kernelOf };
  return {
    ...byOps,
    // a program with sites is there to be observed, which takes its ops one by one
    prepare: (program, { context = options.context } = {}) =>
      program.graph.nodes.some(node => node.kind === 'site')
        ? prepare(byOps, program, { context })
        : openPlan(library, program, { ...options, context }),
  };
}

const kernel =
  (library: Library, op: AnyOp): AnyKernel =>
  (inputs, attrs, outputs, dims, states = {}) => {
    const before = statesOf(op, key => parse(op.states[key]).axes.map(axis => extent(axis, dims)!), states);
    const after = statesOf(op, key => states[key].shape, states);
    library.op(
      op.name,
      nativeTensors({ ...inputs, ...before }),
      nativeAttributes(attrs),
      nativeTensors({ ...outputs, ...after }),
    );
    for (const key in states) states[key].put(0, after[key].data);
  };

/** The values of states, copied, of these shapes: one that grows has fewer rows before the call than after it. */
const statesOf = (
  op: AnyOp,
  shapeOf: (key: string) => readonly number[],
  states: Readonly<Record<string, StateView>>,
): Readonly<Record<string, Tensor<'f32'>>> =>
  Object.fromEntries(
    Object.keys(op.states).map(key => {
      const shape = shapeOf(key);
      return [key, { dtype: 'f32', shape, data: states[key].data.slice(0, sizeOf(shape)) }];
    }),
  );
