/** A planted bug, and how one is written: the reference with one kernel replaced. */
import type { Backend } from '../../backends/backend.ts';
import { reference } from '../../backends/reference.ts';
import type { AnyOp, Attrs, Dims, Kernel, Op } from '../../op.ts';
import type { AnyKernel } from '../../run.ts';
import type { Signature, Tensor } from '../../tensor.ts';

export interface Broken {
  /** Its name, such as `conv-flipped`. */
  readonly name: string;
  /** What is wrong, in one sentence. */
  readonly says: string;
  /** The op whose kernel is wrong. Absent where many are wrong, or the whole executable. */
  readonly op?: string;
  /** Why the tolerant profile does not find it, where it does not: its errors are below the bound. */
  readonly tolerated?: string;
  readonly backend: Backend;
}

type Signatures = Readonly<Record<string, Signature>>;

/** The tensors of a call that are there. */
export const tensorsOf = (named: Readonly<Record<string, Tensor | undefined>>): readonly Tensor[] =>
  Object.values(named).filter(tensor => tensor !== undefined);

/** The row of a bug in the kernel of one op. */
export const inKernel = <I extends Signatures, O extends Signatures, A extends Attrs, S extends Signatures>(
  name: string,
  says: string,
  op: Op<I, O, A, S>,
  kernel: Kernel<I, O, A, S>,
): Broken => ({
  name,
  says,
  op: op.name,
  backend: {
    name: `broken:${name}`,
    kernelOf: (asked: AnyOp) =>
      asked.name === op.name ? (kernel as unknown as AnyKernel) : reference.kernelOf(asked),
  },
});

/** The row of a kernel that computes correctly, but with wrong inputs: `misread` gives those that differ. */
export const misreading = <I extends Signatures, O extends Signatures, A extends Attrs, S extends Signatures>(
  name: string,
  says: string,
  op: Op<I, O, A, S>,
  misread: (
    inputs: Parameters<Kernel<I, O, A, S>>[0],
    dims: Dims,
  ) => Partial<Parameters<Kernel<I, O, A, S>>[0]>,
): Broken =>
  inKernel(name, says, op, (inputs, attrs, outputs, dims, ...states) =>
    op.reference({ ...inputs, ...misread(inputs, dims) }, attrs, outputs, dims, ...states),
  );

/** The tensor with other values. */
export const mapped = <T extends Tensor>(of: T, value: (x: number, i: number) => number): T => ({
  ...of,
  data: of.data.map(value),
});

/** The row of a bug that every kernel has: `wrong` makes it of the right one. */
export const inEveryKernel = (
  name: string,
  says: string,
  wrong: (right: AnyKernel) => AnyKernel,
): Broken => ({
  name,
  says,
  backend: { name: `broken:${name}`, kernelOf: op => wrong(op.reference) },
});

/** The row of a bug in the way a plan is run. */
export const inExecutable = (
  name: string,
  says: string,
  prepare: NonNullable<Backend['prepare']>,
): Broken => ({
  name,
  says,
  backend: { ...reference, name: `broken:${name}`, prepare },
});
