/** An op alone: a plan of one node. What has one row for each token is an input, the rest are constants. */
import { opNode, type Ref, type ValueType, weightsOf } from '../../graph.ts';
import type { AnyOp, BoundCall } from '../../op.ts';
import { checkTokens } from '../../ops/embedding.ts';
import type { AnyKernel } from '../../run.ts';
import { isGrowing, parse } from '../../signature.ts';
import { type StateType, type StateView, shapeAt } from '../../state.ts';
import { sizeOf, type Tensor, tensor } from '../../tensor.ts';
import { createMachine } from './machine.ts';
import type { Subgraph } from './program.ts';
import { BASE, instantiate, type Kernels, type Variant } from './variants.ts';

type Named<T> = Readonly<Record<string, T>>;

/** All single ops of a variant share one instance; nothing of a call stays in it. */
const shared = new Map<Variant, Kernels>();

function instanceOf(variant: Variant): Kernels {
  const kernels = shared.get(variant) ?? instantiate(variant, BASE);
  shared.set(variant, kernels);
  return kernels;
}

/** An op as a subgraph of one node. `values`: what a call gives it for its inputs; `before`: the states before the call. */
export function alone(op: AnyOp, { inputs: given, outputs, states: carried, attrs, dims }: BoundCall) {
  const inputs = Object.entries(given).filter(([, value]) => value !== undefined);
  const isOfEachRow = (key: string): boolean => {
    const [letter] = parse(op.inputs[key]).axes[0].letters;
    return letter === 'l' || (letter === 's' && dims.s === dims.l && dims.l > 1);
  };
  const values = new Map(inputs.filter(([key]) => isOfEachRow(key)));
  const constants = new Map(inputs.filter(([key]) => !values.has(key)));
  const tokens = values.get('tokens');
  if (tokens) checkTokens(op.name, tokens.data as Int32Array, dims.v);

  const states = new Map<Ref, StateType>();
  const before = new Map<Ref, Tensor<'f32'>>();
  for (const [key, { dtype, scale, shape, data }] of Object.entries(carried)) {
    const type: StateType = {
      dtype,
      shape: isGrowing(parse(op.states[key])) ? ['t', ...shape.slice(1)] : shape,
    };
    states.set(key, { ...type, ...(scale && { scale: `${key}.scale` }) });
    if (scale) constants.set(`${key}.scale`, tensor(scale, [scale.length]));
    const past = shapeAt(type, dims.t); // a view has room for the tokens of the call already
    before.set(key, { dtype: 'f32', shape: past, data: data.subarray(0, sizeOf(past)) });
  }

  const ofRows = ({ dtype, shape }: Tensor): ValueType => ({ dtype, shape: ['l', ...shape.slice(1)] });
  const types = new Map<Ref, ValueType>(constants);
  for (const [key, value] of values) types.set(key, ofRows(value));
  for (const [key, value] of Object.entries(outputs)) types.set(`after.${key}`, ofRows(value));

  const refs = Object.fromEntries([...inputs.map(([key]) => key), ...states.keys()].map(key => [key, key]));
  const out = Object.fromEntries(Object.keys(outputs).map(key => [key, `after.${key}`]));
  const subgraph: Subgraph = {
    nodes: [{ ...opNode(op, refs, '', attrs), out }],
    inputs: [...values.keys()],
    results: Object.values(out),
    states,
    types,
    weights: weightsOf(constants),
  };
  return { subgraph, values: [...values.values()], before };
}

/** Packs, copies in, runs and copies out at every call: for the laws and for ops on their own, not for speed. */
export function kernelOf(op: AnyOp, variant: Variant): AnyKernel {
  return (given, attrs, made, dims, states: Named<StateView> = {}) => {
    const [inputs, outputs] = [given as Named<Tensor>, made as Named<Tensor>];
    const { subgraph, values, before } = alone(op, { inputs, outputs, states, attrs, dims });
    const { t: position = 0, l: rows } = dims;
    const context = position + rows;
    const machine = createMachine(subgraph, variant, { kernels: instanceOf(variant), context });
    const place = machine.take();
    machine.write(place, before, position);
    const [results] = machine.run([{ place, position, rows, inputs: values }]);
    for (const [i, value] of Object.values(outputs).entries()) value.data.set(results[i].data);
    for (const [key, value] of machine.read(place, context)) states[key].put(0, value.data);
  };
}
