/** An op alone: a plan of one node. What has one row for each token is an input, the rest are constants. */

import type { State } from '../../executable.ts';
import { opNode, type Ref, type ValueType, weightsOf } from '../../graph.ts';
import { type AnyOp, parse } from '../../op.ts';
import { checkTokens } from '../../ops/embedding.ts';
import type { AnyKernel } from '../../run.ts';
import { type Tensor, zeros } from '../../tensor.ts';
import { createMachine } from './machine.ts';
import { BASE, instantiate, type Kernels, type Variant } from './variants.ts';

type Named = Readonly<Record<string, Tensor>>;

/** All single ops of a variant share one instance; nothing of a call stays in it. */
const shared = new Map<Variant, Kernels>();

function instanceOf(variant: Variant): Kernels {
  const kernels = shared.get(variant) ?? instantiate(variant, BASE);
  shared.set(variant, kernels);
  return kernels;
}

const STATE = 'after.state';

/** Packs, copies in, runs and copies out at every call: for the laws and for ops on their own, not for speed. */
export function kernelOf(op: AnyOp, variant: Variant): AnyKernel {
  return (given, attrs, made, dims) => {
    const inputs = Object.entries(given as Named).filter(([, tensor]) => tensor !== undefined);
    const outputs = made as Named;
    const ofEachRow = (key: string, rows: number): boolean => {
      const [first] = parse(op.inputs[key]).axes;
      return first.letter === 'l' || (first.letter === 's' && dims.s === rows && rows > 1);
    };
    const types = new Map<Ref, ValueType>();
    const typed = (ref: Ref, { dtype, shape }: Tensor) =>
      types.set(ref, ref === STATE ? { dtype, shape } : { dtype, shape: ['l', ...shape.slice(1)] });

    const values = new Map(inputs.filter(([key]) => key !== 'state' && ofEachRow(key, dims.l)));
    const constants = new Map(inputs.filter(([key]) => key !== 'state' && !values.has(key)));
    for (const [key, tensor] of values) {
      typed(key, tensor);
      if (key === 'tokens') checkTokens(op.name, tensor.data as Int32Array, dims.v);
    }
    for (const [key, { dtype, shape }] of constants) types.set(key, { dtype, shape });
    for (const [key, tensor] of Object.entries(outputs)) typed(`after.${key}`, tensor);

    const refs = Object.fromEntries([...values.keys(), ...constants.keys()].map(key => [key, key]));
    const states: Record<Ref, Tensor<'f32'>> = {};
    if (outputs.state) {
      refs.state = STATE;
      states[STATE] = ((given as Named).state ?? zeros('f32', outputs.state.shape)) as Tensor<'f32'>;
    }
    const out = Object.fromEntries(Object.keys(outputs).map(key => [key, `after.${key}`]));
    const machine = createMachine(
      {
        nodes: [{ ...opNode(op, refs, '', attrs), out }],
        inputs: [...values.keys()],
        results: Object.values(out).filter(ref => ref !== STATE),
        states: Object.keys(states),
        types,
        weights: weightsOf(constants),
      },
      variant,
      { kernels: instanceOf(variant) },
    );
    const { results, state } = machine.run(values, dims.l, states as State);
    for (const [key, tensor] of Object.entries(outputs))
      tensor.data.set((key === 'state' ? state[STATE] : results.get(out[key])!).data);
  };
}
