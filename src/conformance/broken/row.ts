/** A planted bug, and how one is written: the reference with one kernel replaced. */
import type { Backend } from '../../backends/backend.ts';
import { reference } from '../../backends/reference.ts';
import type { AnyOp, Attrs, Dims, Kernel, Op } from '../../op.ts';
import type { AnyKernel } from '../../run.ts';
import type { Signatures, Tensors } from '../../signature.ts';
import type { StateView } from '../../state.ts';
import type { Tensor } from '../../tensor.ts';

export interface Broken {
  /** Its name, such as `conv-flipped`. */
  readonly name: string;
  /** What is wrong, in one sentence. */
  readonly says: string;
  /** The op whose kernel is wrong. Absent where many are wrong, or the whole executable. */
  readonly op?: string;
  /** Whether it shows from some size on, so that it is sought among the sizes of real models. */
  readonly fromSomeSize?: boolean;
  /** Why the tolerant profile does not find it, where it does not: its errors are below the bound. */
  readonly tolerated?: string;
  readonly backend: Backend;
}

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

/** What a kernel takes in place of what is there. All else of it is right. */
interface Mistake<Inputs, A extends Attrs> {
  readonly inputs?: (inputs: Inputs, dims: Dims, attrs: A) => Partial<Inputs>;
  readonly attrs?: (attrs: A, dims: Dims) => Partial<A>;
  /** The values of the state that it starts from. */
  readonly before?: (state: Float32Array, dims: Dims) => Float32Array;
  /** The values of the state that it leaves; `start` is what was there before the call. */
  readonly after?: (state: Float32Array, dims: Dims, start: Float32Array) => Float32Array;
  /** Value `i` of its output. */
  readonly output?: (value: number, i: number, inputs: Inputs, dims: Dims) => number;
}

/** The reference of an op but for one mistake. */
const mistaking =
  <I extends Signatures, O extends Signatures, A extends Attrs, S extends Signatures>(
    op: Op<I, O, A, S>,
    { output, before, after, ...mistake }: Mistake<Tensors<I>, A>,
  ): Kernel<I, O, A, S> =>
  (inputs, attrs, outputs, dims, ...states) => {
    const views = Object.values<StateView>(states[0] ?? {});
    const starts = views.map(({ data }) => data.slice());
    if (before) for (const view of views) view.put(0, before(view.data, dims));
    const read = { ...inputs, ...mistake.inputs?.(inputs, dims, attrs) };
    op.reference(read, { ...attrs, ...mistake.attrs?.(attrs, dims) }, outputs, dims, ...states);
    if (output)
      for (const { data } of Object.values<Tensor>(outputs))
        for (const [i, value] of data.entries()) data[i] = output(value, i, inputs, dims);
    if (after) for (const [i, view] of views.entries()) view.put(0, after(view.data, dims, starts[i]));
  };

/** The row of a kernel that makes one mistake. */
export const mistaken = <I extends Signatures, O extends Signatures, A extends Attrs, S extends Signatures>(
  name: string,
  says: string,
  op: Op<I, O, A, S>,
  mistake: Mistake<Tensors<I>, A>,
): Broken => inKernel(name, says, op, mistaking(op, mistake));

/** The row of a mistake that every kernel makes: `output` is what becomes of each value. */
export const inEveryKernel = (name: string, says: string, output: (value: number) => number): Broken => ({
  name,
  says,
  backend: { name: `broken:${name}`, kernelOf: op => mistaking(op, { output }) },
});

/** The tensor with other values. */
export const mapped = <T extends Tensor>(of: T, value: (x: number, i: number) => number): T => ({
  ...of,
  data: of.data.map(value),
});

/** Each row backwards. */
export const reversed = <T extends Tensor>(matrix: T): T => {
  const [rows, columns] = matrix.shape;
  const data = matrix.data.slice();
  for (let i = 0; i < rows; i++) data.subarray(i * columns, (i + 1) * columns).reverse();
  return { ...matrix, data };
};

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
