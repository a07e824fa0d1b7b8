/**
 * Weights as integers. With 8 bits, a scale is the absmax of a part / 127; nothing is clipped, and halves round to even (Quamba).
 * With 4 bits, two integers are in a byte; int4.ts finds the scales, and int4.ts or gptq.ts rounds.
 */
import type { LazyTensor, Program, Ref } from '../graph.ts';
import { absmax, scaleOf } from '../ops/absmax-scale.ts';
import { packed, packedColumns } from '../ops/nibbles.ts';
import { quantize } from '../ops/quantize.ts';
import { type Tensor, tensor } from '../tensor.ts';
import { type Curvature, gptq } from './gptq.ts';
import { groupScales, groupSize, roundToNearest } from './int4.ts';
import { nameOf } from './names.ts';
import type { WeightScheme } from './scheme.ts';

export interface IntegerWeight {
  /** i8[o, i], or with 4 bits i8[o, ⌈i/2⌉]. */
  readonly q: Tensor<'i8'>;
  /** f32[p, g]: [1, 1] for the tensor, [o, 1] for each row, or [o, g] for each row and group of columns. */
  readonly scale: Tensor<'f32'>;
}

/**
 * A weight f32[o, i] as integers and scales.
 *
 * @throws Error where the scheme needs the curvature of its inputs and there is none.
 */
export function quantizeWeight(
  w: Tensor<'f32'>,
  scheme: WeightScheme,
  curvature?: () => Curvature,
): IntegerWeight {
  if (scheme.bits === 4) return fourBits(w, scheme, curvature);
  const [p, g] = scaleShape(scheme, w.shape);
  const size = w.data.length / (p * g); // every part is contiguous: the tensor, a row, or a run of a row
  const parts = Array.from({ length: p * g }, (_, i) => w.data.subarray(i * size, (i + 1) * size));
  const scale = Float32Array.from(parts, values => scaleOf(absmax(values)));
  const { q } = quantize({ x: tensor(w.data, [p * g, size]), scale });
  return { q: { ...q, shape: w.shape }, scale: tensor(scale, [p, g]) };
}

function fourBits(w: Tensor<'f32'>, scheme: WeightScheme, curvature?: () => Curvature): IntegerWeight {
  const [rows, columns] = w.shape;
  const [, groups] = scaleShape(scheme, w.shape);
  const isGptq = scheme.rounding === 'gptq';
  if (isGptq && !curvature)
    throw new Error('quantize: rounding gptq needs what calibration saw; calibrate with this recipe first');
  const known = isGptq ? curvature!() : undefined;
  if (known && known.order.length !== columns)
    throw new RangeError(
      `quantize: statistics of ${known.order.length} channels do not fit a weight of ${columns} columns; calibrate with this recipe again`,
    );
  const scale = groupScales(w, columns / groups, known?.diagonal);
  const data = known ? gptq(w, scale, known) : roundToNearest(w, scale);
  return { q: packed(tensor(data, [rows, columns])), scale: tensor(scale, [rows, groups]) };
}

function scaleShape(
  { bits, per }: WeightScheme,
  [rows, columns]: readonly number[],
): readonly [number, number] {
  if (per === 'tensor') return [1, 1];
  if (per === 'row') return [rows, 1];
  if (bits === 4) return [rows, columns / groupSize(per.group, columns)];
  if (columns % per.group !== 0)
    throw new RangeError(`quantize: groups of ${per.group} do not divide ${columns} columns`);
  return [rows, columns / per.group];
}

/**
 * The integer weights of a plan, each quantized when it is read. Only the scales are kept, so that a backend that takes one
 * weight after the other never has two of them in memory. Whoever reads the integers of a weight before its scales quantizes it
 * once only.
 */
export function integerWeights({ graph, weights }: Program) {
  const made = new Map<Ref, LazyTensor>();
  const known = new Map<Ref, Tensor<'f32'>>(); // scales, by their integers
  /** The names of a weight's integers and of its scales. The scales are [p, g] for a matrix product, [1] or [o] for rows. */
  const of = (ref: Ref, scheme: WeightScheme, as: 'matrix' | 'rows', curvature?: () => Curvature) => {
    if (as === 'rows' && typeof scheme.per === 'object')
      throw new Error(`quantize: ${ref} has scales for groups of columns, which only a linear can read`);
    const q = nameOf.integers(ref, scheme);
    const scale = as === 'matrix' ? nameOf.matrixScale(q) : nameOf.scale(q);
    const { shape } = graph.weights.get(ref)!;
    const integers = (): IntegerWeight => {
      const integer = quantizeWeight(weights.read(ref) as Tensor<'f32'>, scheme, curvature);
      known.set(q, integer.scale);
      return integer;
    };
    const [p, g] = scaleShape(scheme, shape);
    const scales = as === 'matrix' ? [p, g] : [p];
    made.set(q, {
      dtype: 'i8',
      shape: scheme.bits === 4 ? [shape[0], packedColumns(shape[1])] : shape,
      read: () => integers().q,
    });
    made.set(scale, {
      dtype: 'f32',
      shape: scales,
      read: () => tensor((known.get(q) ?? integers().scale).data, scales),
    });
    return { q, scale };
  };
  return { of, made };
}
