/** What the rows of instructions.ts and fused.ts ask of a node: its sizes, and where its values, constants and states are. */
import type { Attrs, Dims } from '../../op.ts';
import type { Address } from './operands.ts';
import type { Packing, PackingOf } from './pack.ts';
import type { TileFormat } from './variants.ts';

/** What an instruction may ask of its node. An input that is absent is 0. */
export interface Call {
  readonly dims: Dims;
  readonly attrs: Attrs;
  readonly tiles: TileFormat;
  /** An input or output of l rows. */
  value(key: string): Address;
  /** A constant input. */
  weight(key: string, packing: PackingOf): Address;
  /** A constant of the op itself. */
  table(packing: Packing): Address;
  scale(key: string): Scale;
  /** A state, the number of its dtype, and its scale, or 0. */
  state(key: string): { readonly h: Address; readonly hType: number; readonly hScale: Address };
  /** The most tokens of a text, where a state grows. */
  readonly context: number;
}

/** A scale, and the bytes from that of a row to that of the next one: 0 where all rows share it. */
export interface Scale {
  readonly scale: Address;
  readonly scaleStride: number;
}
/** The scale as the operands of an instruction that has several. */
export const scaleOperands = <X extends string>(x: X, { scale, scaleStride }: Scale) =>
  ({ [`${x}Scale`]: scale, [`${x}ScaleStride`]: scaleStride }) as Record<`${X}Scale`, Address> &
    Record<`${X}ScaleStride`, number>;

/** An input as f32; or as i8, with its scale and the channels that multiply it, or 0. */
export interface Input {
  readonly x: Address;
  readonly scale: Scale;
  readonly channels: Address;
}
const NO_SCALE: Scale = { scale: 0, scaleStride: 0 };
export const real = (x: Address): Input => ({ x, scale: NO_SCALE, channels: 0 });
