/**
 * Ring 1, when a result is right: integers equal; `exact` results bit for bit PyTorch's float32; other floats
 *
 *   |ours − f64| ≤ 2 · max |torch f32 − f64| + 1 ulp_f32(max |f64|)
 *
 * The tolerance is measured (how wrong PyTorch itself is in float32), never typed by hand.
 */
import { type Data, describe as shown, type Tensor } from '../../src/tensor.ts';
import type { Golden, Values } from './files.ts';

/** The distance from |x| to the next float32 above it. */
export function ulp(x: number): number {
  const value = new Float32Array([Math.abs(x)]);
  const bits = new Uint32Array(value.buffer);
  const below = value[0];
  bits[0]++;
  return value[0] - below;
}

const largest = (data: ArrayLike<number>, of: (x: number, i: number) => number): number => {
  let max = 0;
  for (let i = 0; i < data.length; i++) max = Math.max(max, of(data[i], i));
  return max;
};

export const bound = (f32: ArrayLike<number>, f64: ArrayLike<number>): number =>
  2 * largest(f32, (x, i) => Math.abs(x - f64[i])) + ulp(largest(f64, Math.abs));

export type Results = Pick<Golden, 'f32' | 'f64' | 'out' | 'exact'>;

/** What is wrong with our outputs, one line each: the first index that breaks the rule, with both values. */
export function faults(golden: Results, ours: Readonly<Record<string, Tensor>>): string[] {
  const wanted = { ...golden.f32, ...golden.out };
  const names = new Set([...Object.keys(wanted), ...Object.keys(ours)]);
  return [...names].flatMap(name => {
    if (!wanted[name]) return `${name}: no golden has this output`;
    if (!ours[name]) return `${name}: the op did not give this output`;
    if (shown(ours[name]) !== shown(wanted[name]))
      return `${name}: ${shown(ours[name])} is not ${shown(wanted[name])}`;
    if (name in golden.out) return differing(name, ours[name].data, golden.out[name]);
    const { data } = ours[name];
    return [
      ...(golden.exact(name) ? differing(name, data, golden.f32[name]) : []),
      ...straying(name, data, golden.f32[name].data, golden.f64[name]),
    ];
  });
}

function differing(name: string, ours: Data, { data, shape }: Values): string[] {
  const i = ours.findIndex((x: number, at: number) => !Object.is(x, data[at]));
  return i < 0 ? [] : [`${name}${index(i, shape)}: ours ${ours[i]}, exactly ${data[i]}`];
}

function straying(name: string, ours: Data, f32: Float32Array, f64: Values | undefined): string[] {
  if (!f64) return [];
  const most = bound(f32, f64.data);
  const i = ours.findIndex((x: number, at: number) => !(Math.abs(x - f64.data[at]) <= most));
  if (i < 0) return [];
  return [`${name}${index(i, f64.shape)}: ours ${ours[i]}, float64 ${f64.data[i]}, bound ${most}`];
}

/** `[2, 5]`: where element i is. */
function index(i: number, shape: readonly number[]): string {
  const at = shape.map((_, axis) => {
    const inner = shape.slice(axis + 1).reduce((size, extent) => size * extent, 1);
    return Math.floor(i / inner) % shape[axis];
  });
  return `[${at.join(', ')}]`;
}
