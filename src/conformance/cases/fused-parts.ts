/** What the programs of one fused node are written with. */
import { type Builder, type Program, type Ref, trace } from '../../graph.ts';
import { once } from '../../once.ts';
import { ops } from '../../ops/index.ts';
import { fuse } from '../../plan/fuse.ts';
import type { StateType } from '../../state.ts';
import { sizeOf, type Tensor, tensor } from '../../tensor.ts';
import { random } from '../../text/random.ts';
import { gauss, integer } from '../inputs.ts';

export type Scheme = 'static' | 'dynamic';

/** The values that are compared: `codes` are integers, `floats` are not. */
interface Shown {
  readonly codes?: readonly Ref[];
  readonly floats?: readonly Ref[];
  /** How its state is kept, f32 by default; in i8 by the constant `steps`. */
  readonly kept?: StateType['dtype'];
}
export interface FusedProgram {
  readonly name: string;
  readonly what: string;
  /** The lengths of the texts that it runs; 1, 17 and 130 by default. */
  readonly lengths?: readonly number[];
  /** Part of the quick run, by default. */
  readonly quick?: boolean;
  readonly write: (parts: Parts) => Shown;
}

/** How many tokens its texts are made of. */
export const VOCABULARY = 13;

/** The tools that a program is written with: its builder, and each kind of value that a fused op reads. */
function partsOf(g: Builder, tokens: Ref, constants: Map<Ref, () => Tensor>) {
  const next = random(3);
  const constant = (name: string, shape: readonly number[], make: (i: number) => number): Ref => {
    constants.set(name, () =>
      tensor(
        Float32Array.from({ length: sizeOf(shape) }, (_, i) => make(i)),
        shape,
      ),
    );
    return g.weight(name, shape);
  };
  const step = (name: string) => constant(`${name}.scale`, [1], () => 0.02);
  const weight = (name: string, ...shape: number[]) => constant(name, shape, () => gauss(next));
  /** f32[l, width], a row for each token, of the elements that `make` makes. */
  const table = (name: string, width: number, make: (i: number) => number) =>
    g.op(name, ops.embedding, { tokens, w: constant(`${name}.table`, [VOCABULARY, width], make) });
  const rows = (name: string, width: number) => table(name, width, () => gauss(next));
  /** i8[l, width] and the scale of its steps. */
  const codes = (name: string, width: number) => {
    const scale = step(name);
    return { q: g.op(`${name}.q`, ops.quantize, { x: rows(name, width), scale }), scale };
  };
  return {
    ...{ g, constant, weight, table, rows, codes },
    /** The codes that `make` makes, in steps of `scale`. */
    coded(name: string, width: number, scale: number, make: (i: number) => number) {
      const one = constant(`${name}.one`, [1], () => 1);
      const q = g.op(`${name}.q`, ops.quantize, { x: table(name, width, make), scale: one });
      return g.op(`${name}.real`, ops.dequantize, { q, scale: constant(`${name}.scale`, [1], () => scale) });
    },
    integers(name: string, ...shape: number[]) {
      constants.set(name, () =>
        tensor(
          Int8Array.from({ length: sizeOf(shape) }, () => integer(next)),
          shape,
        ),
      );
      return g.weight(name, shape, '', 'i8');
    },
    real: (name: string, width: number) => g.op(`${name}.real`, ops.dequantize, codes(name, width)),
    quantized(x: Ref, scheme: Scheme) {
      const scale = scheme === 'static' ? step(x) : g.op(`${x}.scale`, ops.absmaxScale, { x });
      return g.op(`${x}.q`, ops.quantize, { x, scale });
    },
  };
}
export type Parts = ReturnType<typeof partsOf>;

/** One program for each value that is compared, with that value as its result. Its constants are made when one is read. */
export function programsOf({ write }: FusedProgram): readonly {
  readonly program: Program;
  readonly isCodes: boolean;
}[] {
  const constants = new Map<Ref, () => Tensor>();
  const made = once(() => new Map([...constants].map(([ref, make]) => [ref, make()])));
  let shown: Shown = {};
  const results = new Map<Ref, boolean>();
  const graph = trace((g, tokens) => {
    const parts = partsOf(g, tokens, constants);
    shown = write(parts);
    const one = parts.constant('one', [1], () => 1);
    for (const q of shown.codes ?? [])
      results.set(g.op(`${q}.shown`, ops.dequantize, { q, scale: one }), true);
    for (const x of shown.floats ?? []) results.set(x, false);
    return [...results.keys()][0];
  });
  const { kept: dtype = 'f32' } = shown;
  const states = new Map(
    [...graph.states].map(([ref, { shape }]) => [
      ref,
      { dtype, shape, ...(dtype === 'i8' && { scale: 'steps' }) },
    ]),
  );
  const program = fuse({
    graph: { ...graph, states },
    weights: { has: ref => constants.has(ref), read: ref => made().get(ref)! },
  });
  return [...results].map(([result, isCodes]) => ({
    program: { ...program, graph: { ...program.graph, result } },
    isCodes,
  }));
}

/** f32[l, width] from int8 by one scale, or by one of each token. */
export function coded({ g, real, rows, quantized }: Parts, scheme: Scheme, name: string, width: number): Ref {
  if (scheme === 'static') return real(name, width);
  const x = rows(name, width);
  return g.op(`${name}.real`, ops.dequantize, { q: quantized(x, scheme), scale: `${x}.scale` });
}
/** The same by one scale of each channel. */
export const byChannel = (parts: Parts, name: string, width: number): Ref => {
  const c = parts.constant(`${name}.c`, [width], factor);
  return parts.g.op(`${name}.plain`, ops.scaleChannels, { x: parts.real(name, width), c });
};

/** The factor of channel i. No two neighbours are equal, and none is a power of two. */
export const factor = (i: number) => 0.3 + 0.17 * (i % 11);
