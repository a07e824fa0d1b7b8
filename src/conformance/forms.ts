/** The ops of the suite, each in every form that a backend may have: the op itself, and with its state kept otherwise. */
import { type AnyOp, formOf } from '../op.ts';
import { ops } from '../ops/index.ts';
import type { StateType } from '../state.ts';

export interface Form {
  /** Part of an address: `selective-scan/f16`. */
  readonly name: string;
  readonly op: AnyOp;
  /** How its states are kept. */
  readonly dtype: StateType['dtype'];
}

/** How the states of an op may be kept beside f32: what recipes say. */
const OTHERS: Readonly<Record<string, readonly StateType['dtype'][]>> = {
  [ops.selectiveScan.name]: ['f16', 'i8', 'i8-dynamic'],
  [ops.ssdScan.name]: ['f16', 'i8', 'i8-dynamic'],
  [ops.attention.name]: ['f16', 'i8-dynamic'], // of what grows no step is known before
};

/** The states of an op, all kept alike. */
export const keptAll = <T extends { readonly dtype: StateType['dtype'] }>(op: AnyOp, kept: T) =>
  Object.fromEntries(Object.keys(op.states).map(key => [key, kept]));

export const forms: readonly Form[] = Object.values(ops).flatMap((op: AnyOp) =>
  (['f32', ...(OTHERS[op.name] ?? [])] as const).map(dtype => ({
    name: formOf(op, keptAll(op, { dtype })),
    op,
    dtype,
  })),
);

const byName = new Map(forms.map(form => [form.name, form]));
export const formNamed = (name: string): Form | undefined => byName.get(name);
