/**
 * An op as a program: what gives it its inputs, the op, and what shows its output. A backend that runs whole plans with code of its
 * own computes the op there, and not by the kernel that the cases of one op call.
 */
import { type Program, trace, weightsOf } from '../graph.ts';
import { type AnyOp, type BoundCall, bind } from '../op.ts';
import { ops } from '../ops/index.ts';
import { isGrowing, parse } from '../signature.ts';
import { type Data, type Tensor, tensor } from '../tensor.ts';
import { keptAll } from './forms.ts';
import type { Tensors } from './named.ts';

/** The rows of the first axis belong to tokens. */
const isOfTokens = (signature: string): boolean => parse(signature).axes[0].letters[0] === 'l';
const rowsOf = (op: AnyOp): readonly string[] =>
  Object.keys(op.inputs).filter(key => isOfTokens(op.inputs[key]));
/** Every op has one output. */
const outputOf = (op: AnyOp): string => Object.keys(op.outputs)[0];

/** The values of a program as the output of its op; they stay f32 where one is no code. */
function shownAs({ dtype, shape }: Tensor, data: Data): Tensor {
  const codes = Int8Array.from(data);
  return tensor(dtype === 'i8' && codes.every((code, i) => code === data[i]) ? codes : data, shape);
}

/** The ops beside it that its program needs. */
export function opsBeside(op: AnyOp): readonly string[] {
  const given = rowsOf(op).map(key => parse(op.inputs[key]).dtype);
  const { dtype, axes } = parse(op.outputs[outputOf(op)]);
  const isShown = dtype === 'f32' && axes.length === 2;
  const needed = [
    ...(given.some(type => type !== 'i32') || !isShown ? [ops.embedding] : []),
    ...(given.includes('i8') || axes.length === 1 ? [ops.quantize] : []),
    ...(isShown ? [] : [ops.dequantize]),
  ];
  return needed.map(({ name }) => name);
}

export interface Alone {
  readonly program: Program;
  readonly text: Int32Array;
  /** The call, from the start of a text. */
  readonly call: BoundCall;
  /** The results of the call, from what the program gives for the text and from its states after it. */
  readonly read: (outcomes: Tensors) => Tensors;
}

/**
 * A call as a program whose tokens are the rows of the call; a text begins with states of zeros. The call has one scale for all
 * tokens: as many as there are tokens would be no constant, and only absmax-scale makes such a value.
 */
export function alone(op: AnyOp, { inputs, attrs, states, dims: { l } }: BoundCall): Alone {
  const [kept] = Object.values(states);
  const call = bind(op, inputs, attrs, kept && keptAll(op, { dtype: kept.dtype, scale: kept.scale }));
  const text = (inputs.tokens?.data as Int32Array | undefined) ?? Int32Array.from({ length: l }, (_, i) => i);
  const constants = new Map<string, Tensor>();
  const output = call.outputs[outputOf(op)];
  const graph = trace((g, tokens) => {
    const put = (name: string, value: Tensor) => {
      constants.set(name, value);
      return g.weight(name, value.shape, '', value.dtype);
    };
    const one = () => put('one', tensor(Float32Array.of(1), [1]));
    const rows = (name: string, { data, shape, dtype }: Tensor) => {
      const w = put(`${name}.rows`, tensor(Float32Array.from(data), shape));
      const x = g.op(`${name}.of`, ops.embedding, { tokens, w });
      return dtype === 'i8' ? g.op(`${name}.codes`, ops.quantize, { x, scale: one() }) : x;
    };
    const given = Object.entries(inputs).map(([key, value]) => {
      if (key === 'tokens') return [key, tokens];
      return [key, isOfTokens(op.inputs[key]) ? rows(key, value) : put(key, value)];
    });
    const carried = Object.entries(call.states).map(([key, { shape }]) => [
      key,
      g.state(key, isGrowing(parse(op.states[key])) ? ['t', ...shape.slice(1)] : shape),
    ]);
    const result = g.op('result', op, Object.fromEntries([...given, ...carried]), attrs);
    if (output.dtype === 'i8') return g.op('shown', ops.dequantize, { q: result, scale: one() });
    if (output.shape.length === 2) return result;
    const ones = rows('ones', tensor(new Int8Array(l).fill(1), [l, 1]));
    return g.op('shown', ops.dequantize, { q: ones, scale: result });
  });
  const keptStates = new Map(
    [...graph.states].map(([ref, { shape }]) => {
      if (!kept.scale) return [ref, { dtype: kept.dtype, shape }];
      constants.set('steps', tensor(kept.scale, [kept.scale.length]));
      return [ref, { dtype: kept.dtype, shape, scale: 'steps' }];
    }),
  );
  const types = new Map([...constants].map(([ref, { dtype, shape }]) => [ref, { dtype, shape }]));
  return {
    program: { graph: { ...graph, states: keptStates, weights: types }, weights: weightsOf(constants) },
    text,
    call,
    read: ({ logits, ...after }) => ({ [outputOf(op)]: shownAs(output, logits.data), ...after }),
  };
}
