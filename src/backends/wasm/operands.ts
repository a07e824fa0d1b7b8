/** The operands of an instruction before everything has its address, and how an instruction is written from them. */
import type { Ref } from '../../graph.ts';
import { type Format, TAKEN } from './instruction-formats.ts';
import type { Packing } from './pack.ts';
import type { StateLayout } from './state-layout.ts';

/** Something whose address is known when everything has its place. 0: absent. */
export type Address =
  | 0
  | { readonly kind: 'value'; readonly ref: Ref }
  | { readonly kind: 'weight'; readonly ref: Ref; readonly packing: Packing }
  | { readonly kind: 'state'; readonly ref: Ref; readonly layout: StateLayout }
  | { readonly kind: 'scratch'; readonly bytes: (rows: number) => number };

/** The bits of an f32 as an i32: a number that TypeScript tells from others. */
export type Float = number & { readonly kind: 'f32' };
export type Operand = Address | number;

export const float = (value: number) => new Int32Array(Float32Array.of(value).buffer)[0] as Float;
export const scratch = (bytes: (rows: number) => number): Address => ({ kind: 'scratch', bytes });

export interface Instruction {
  readonly code: number;
  /** A word each. */
  readonly operands: readonly Operand[];
  /** Bytes of own scratch that each thread needs. */
  readonly own?: (rows: number) => number;
  /** Columns of what it quantizes, where it may meet a NaN. */
  readonly quantized?: number;
  /** Its weights are tables, of which a token reads a row. */
  readonly isLookup?: boolean;
}

type FormatOf<F extends Format> = { new (): F; readonly code: number };

/** An instruction of a format, its operands by name. `segments`: the words behind them. */
export function instruction<F extends Format>(
  format: FormatOf<F>,
  operands: Omit<F, 'opcode'>,
  { segments = [], ...more }: Partial<Instruction> & { readonly segments?: readonly Operand[] } = {},
): Instruction {
  const named = namesOf(format).map(name => operands[name as keyof typeof operands] as Operand);
  return { ...more, code: format.code, operands: [...named, ...segments] };
}

/** The operands of a format, in the order of their words. */
export const namesOf = (format: FormatOf<Format>): readonly string[] =>
  Object.keys(new format()).filter(name => name !== 'opcode');

/** How many segments of so many words an instruction has room for. */
export const roomFor = (format: FormatOf<Format>, words: number): number =>
  Math.floor((TAKEN / 4 - 1 - namesOf(format).length) / words);
