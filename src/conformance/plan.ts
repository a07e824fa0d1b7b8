/** Runs whole programs on a backend and on the reference, and judges how far apart they come out. */
import { type Backend, prepare } from '../backends/backend.ts';
import type { Executable, Sequence } from '../executable.ts';
import { flatten, type Program } from '../graph.ts';
import { attention } from '../ops/attention.ts';
import { quantize } from '../ops/quantize.ts';
import { selectiveScan } from '../ops/selective-scan.ts';
import { ssdScan } from '../ops/ssd-scan.ts';
import { inferTypes } from '../plan/types.ts';
import { planOf } from '../quant/pipeline.ts';
import type { Recipe } from '../quant/scheme.ts';
import { formsOf, interpret } from '../run.ts';
import { type Data, joined, type Tensor } from '../tensor.ts';
import type { Profile, Tolerance, Vectors } from './case.ts';
import { compare } from './judge/compare.ts';
import { U } from './judge/doubt.ts';
import { type Finding, worstOf } from './judge/judge.ts';
import { each, type Tensors } from './named.ts';

export const cut = (text: Int32Array, sizes: readonly number[]): Int32Array[] => {
  let at = 0;
  return sizes.map(size => text.slice(at, (at += size)));
};

/** What a text gives, fed in cuts to a sequence of its own: the logits, and the states after it. */
export function fed(executable: Executable, cuts: readonly Int32Array[]): Tensors {
  const sequence = executable.open();
  const logits = joined(cuts.map(tokens => sequence.feed(tokens)));
  const outcomes = { logits, ...statesOf(sequence) };
  sequence.close();
  return outcomes;
}

/** Where a sequence is, by name. */
export const statesOf = (sequence: Sequence): Tensors => Object.fromEntries(sequence.save().values);

const known = new WeakMap<Program, Map<string, Tensors>>();

/** What the reference gives for a text from its start. It is computed once for each program and text. */
export function expectedFrom(program: Program, text: Int32Array): Tensors {
  const ofProgram = known.get(program) ?? new Map<string, Tensors>();
  known.set(program, ofProgram);
  const key = text.join();
  const outcomes = ofProgram.get(key) ?? fed(interpret(program), [text]);
  ofProgram.set(key, outcomes);
  return outcomes;
}

/** Calls `use` with an executable, and then gives its memory and threads back. */
export function withExecutable<T>(
  backend: Backend,
  program: Program,
  use: (executable: Executable) => T,
  threads?: number,
): T {
  const executable = prepare(backend, program, threads === undefined ? {} : { threads });
  try {
    return use(executable);
  } finally {
    executable.dispose?.();
  }
}

const named = new WeakMap<Program, Map<Recipe, readonly string[]>>();

/**
 * The ops of a recipe's plan, and how their states are kept, in words: its shape does not depend on what calibration finds. They
 * are found once for each program and recipe, since cases are listed more often than they are run.
 */
export function opNamesOf(program: Program, recipe: Recipe): readonly string[] {
  const ofProgram = named.get(program) ?? new Map<Recipe, readonly string[]>();
  named.set(program, ofProgram);
  const names = ofProgram.get(recipe) ?? findOpNames(program, recipe);
  ofProgram.set(recipe, names);
  return names;
}

function findOpNames(program: Program, recipe: Recipe): readonly string[] {
  const sites = program.graph.nodes.flatMap(node => (node.kind === 'site' ? [node.out] : []));
  const refs = [...sites, ...program.graph.states.keys()];
  const each = <T>(value: T) => Object.fromEntries(refs.map(ref => [ref, value]));
  const plan = planOf(program, recipe, { channels: each(new Float32Array()), ranges: each(1) });
  return [...formsOf(plan).keys()];
}

/** A plan, and the float program that it was made from. */
export interface PlanUnderTest {
  readonly plan: Program;
  readonly float: Program;
}

/** A backend may be farther from the float model than the reference's plan is, by this share of that distance. */
const ADDED = 1 / 4;

/**
 * Judges whether a backend's results for a text are near enough to the reference's.
 *
 * A plan that rounds to integers, or to f16, is chaotic. If one code falls to the other side of a tie, all later values change by as much as
 * quantization itself changes them. So a tolerant backend is compared with the float model instead: its distance from the float model
 * may be at most a quarter more than that of the reference's plan.
 */
export function judgeOutcomes(
  profile: Profile,
  { plan, float }: PlanUnderTest,
  text: Int32Array,
  got: Tensors,
): Finding {
  const whole = expectedFrom(plan, text);
  const expected = Object.fromEntries(
    Object.keys(got).flatMap(name => (whole[name] ? [[name, whole[name]]] : [])),
  );
  const exact = compare(expected, got, 'exact');
  if (profile === 'exact' || !exact.mismatch) return exact;
  const unfit = compare(expected, got, 'tolerant', anything(expected));
  if (unfit.mismatch) return unfit;
  const rounds =
    flatten(plan.graph.nodes).some(({ op }) => op.name === quantize.name) ||
    [...plan.graph.states.values()].some(({ dtype }) => dtype !== 'f32');
  const truth = rounds ? expectedFrom(float, text) : undefined;
  return worstOf(
    Object.keys(expected).map(name =>
      judgeNear(name, expected[name], got[name], plan, text.length, truth?.[name]),
    ),
  );
}

/** Tolerances that any output passes which is there, has its shape and holds no NaN. */
const anything = (expected: Tensors): Vectors['tolerances'] =>
  each(expected, ({ data }) => unlimited('a number', data.length));
const unlimited = (formula: string, size: number): Tolerance => ({
  formula,
  bounds: new Float64Array(size).fill(Number.POSITIVE_INFINITY),
  bias: Number.POSITIVE_INFINITY,
});

/**
 * ‖got − expected‖ ≤ 4 u √N ‖expected‖, for a float program with N roundings one after another. They are nearly independent, so
 * their errors add up as √N. The factor 4 is far out in the tail of the distribution. With the float model's values as `truth`, for
 * a plan that rounds to integers, it is ‖got − truth‖ ≤ 1.25 ‖expected − truth‖ + that.
 */
export function judgeNear(
  name: string,
  expected: Tensor,
  got: Tensor,
  program: Program,
  length: number,
  truth?: Tensor,
): Finding {
  const count = roundingsOf(program, length);
  const rounding = 4 * U * Math.sqrt(count) * distance(expected.data, new Float32Array(expected.data.length));
  const cost = truth ? (1 + ADDED) * distance(expected.data, truth.data) : 0;
  const limit = cost + rounding;
  const off = distance(got.data, (truth ?? expected).data);
  const worst = off === 0 ? 0 : off / limit;
  if (worst <= 1) return { worst };
  const says = `4 u √${count} ‖expected‖`;
  const formula = truth
    ? `‖got − float‖ ≤ ${1 + ADDED} ‖expected − float‖ + ${says}`
    : `‖got − expected‖ ≤ ${says}`;
  const errors = Array.from(got.data, (x, i) => Math.abs(x - expected.data[i]));
  const furthest = errors.indexOf(errors.reduce((most, error) => Math.max(most, error)));
  const only = unlimited(formula, got.data.length);
  only.bounds[furthest] = 0;
  const { mismatch } = compare({ [name]: expected }, { [name]: got }, 'tolerant', { [name]: only });
  return {
    worst,
    mismatch: mismatch && { ...mismatch, bound: limit, formula: `${formula}; got ${off.toPrecision(4)}` },
  };
}

const scans = [selectiveScan.name, ssdScan.name, attention.name];
/** How many roundings a result depends on: for each node the length of its sum, and 8 more for the rest of its work. */
function roundingsOf({ graph }: Program, length: number): number {
  const types = inferTypes(graph);
  const sizes = flatten(graph.nodes).map(({ op, in: inputs }) => {
    const [first] = Object.values(inputs);
    const width = types.get(inputs.x ?? first)!.shape.at(-1);
    return 8 + (scans.includes(op.name) ? length : typeof width === 'number' ? width : 0);
  });
  return sizes.reduce((sum, size) => sum + size, 0);
}

/** ‖a − b‖ */
function distance(a: Data, b: Data): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += (a[i] - b[i]) ** 2;
  return Math.sqrt(sum);
}
