// biome-ignore-all format: the fields of a format stand together
/**
 * The instructions of a plan, each declared once: its opcode, and its operands in the order in which they lie in memory, in
 * words of 32 bits. The kernels of assembly/ import this file, and so do the files that write instructions. An address that
 * may be absent is then 0.
 *
 * `xScaleStride`: the bytes from the scale of one row of x to that of the next row. It is 4 where each row has its own scale,
 * and 0 where all rows share one.
 *
 * A state is that of the first place. The same state of another place lies as far behind it as the places are apart (sync.ts).
 */

/** The size of an instruction. Its last 16 bytes are the counters by which threads share it, two i64. */
export const INSTRUCTION_BYTES = 128;
/** How many of its parts have been taken, and how many are done. */
export const TAKEN = 112;
export const DONE = 120;

/** A bit of the opcode: threads share the instruction by rows. Without it they share it by channels, outputs or cache lines. */
export const BY_ROWS = 64;

/** How a state is kept, by number. */
export const STATE_F32 = 0;
export const STATE_F16 = 1;
export const STATE_I8 = 2;
/** Its steps lie behind its values, in every place. */
export const STATE_I8_DYNAMIC = 3;

/** What every instruction begins with. */
export class Format {
  opcode!: i32;
}

class Lookup extends Format {
  tokens!: usize; w!: usize; y!: usize; m!: i32;
}
export class Embedding extends Lookup {
  static readonly code: i32 = 1 | BY_ROWS;
}
export class EmbeddingI8 extends Lookup {
  static readonly code: i32 = 2 | BY_ROWS;
  scale!: usize;
}

/** x and y have rows of n values. */
class Rows extends Format {
  x!: usize; y!: usize; n!: i32;
}
/** The sum of x and y. */
export class Add extends Rows {
  static readonly code: i32 = 3;
  sum!: usize;
}
export class Softplus extends Rows {
  static readonly code: i32 = 4;
}
export class Silu extends Rows {
  static readonly code: i32 = 5;
}
export class NegExp extends Rows {
  static readonly code: i32 = 6;
}

/** The square of what is positive. */
export class SquaredRelu extends Rows {
  static readonly code: i32 = 32;
}
/** silu(x) · up. */
export class Swiglu extends Rows {
  static readonly code: i32 = 33;
  up!: usize;
}

/** Of the tokens behind the `fed` ones, a state that is kept as `fedType` says. `sine`: not the cosines. */
export class RopeTable extends Format {
  static readonly code: i32 = 34 | BY_ROWS;
  freq!: usize; y!: usize; r!: i32; sine!: i32; fed!: usize; fedType!: i32; fedScale!: usize;
}
/** Rows of n values are turned, head by head of p values, by r angles. */
export class Rope extends Rows {
  static readonly code: i32 = 35 | BY_ROWS;
  cos!: usize; sin!: usize; p!: i32; r!: i32;
}

/**
 * Adds rows of x, groups of p values, to the pages of a state that grows and is kept as `type` says. `state` is where it begins in each
 * page: [groups][PAGE_TOKENS][p], and behind that the steps, where it has any.
 */
export class Keep extends Format {
  static readonly code: i32 = 36 | BY_ROWS;
  x!: usize; state!: usize; type!: i32; groups!: i32; p!: i32;
}
/** The most queries of a unit of attention (assembly/attention.ts). */
export const QUERIES = 16;
/** K and V, which hold the keys and values of these rows already: where they begin in each page. */
export class Attention extends Format {
  static readonly code: i32 = 37;
  q!: usize; K!: usize; KType!: i32; V!: usize; VType!: i32; y!: usize; heads!: i32; groups!: i32; p!: i32; scale!: f32;
}

/** `w` may be absent. */
export class RmsNorm extends Rows {
  static readonly code: i32 = 7 | BY_ROWS;
  w!: usize; eps!: f32;
}

/** Rows of n values, f32 in x, and rows of n integers in q. */
class Quantized extends Format {
  x!: usize; scale!: usize; scaleStride!: i32; q!: usize; n!: i32;
}
/** y is added to x, the sum is kept, and its norm is quantized. Without `y`, x itself is normed. Where `scaleStride` is not 0, the scales are measured. */
export class AddNormQuantize extends Quantized {
  static readonly code: i32 = 8 | BY_ROWS;
  y!: usize; sum!: usize; w!: usize; eps!: f32;
}

/** Rows of x in the order in which Linear reads them. */
export class Pack extends Format {
  static readonly code: i32 = 9 | BY_ROWS;
  x!: usize; packed!: usize; i!: i32;
}

/** `b` may be absent. */
export class Linear extends Format {
  static readonly code: i32 = 10;
  packed!: usize; w!: usize; b!: usize; y!: usize; i!: i32; o!: i32;
}

/** Rows of x, i8, in the order in which LinearI8 and LinearI4 read them. They read a single row from x itself. */
export class PackI8 extends Format {
  static readonly code: i32 = 11;
  x!: usize; packed!: usize; i!: i32; groups!: i32;
}

/**
 * `b` may be absent. Where `y` is absent, the product is quantized at once, its columns in segments, each with a scale and a
 * tensor of its own. A segment is four words behind the operands: the end of its columns, its scale, q, and the channels by
 * which its columns are divided first, or 0. All ends but the last are multiples of 4.
 */
class Product extends Format {
  x!: usize; packed!: usize; xScale!: usize; xScaleStride!: i32; w!: usize; wScale!: usize; b!: usize;
  i!: i32; groups!: i32; o!: i32; y!: usize;
}
export class LinearI8 extends Product {
  static readonly code: i32 = 12;
}
/** Its weights have 4 bits. */
export class LinearI4 extends Product {
  static readonly code: i32 = 13;
}

/** `b` may be absent. `past`: the state, kept as `pastType` says (STATE_F32 …); only i8 has `pastScale`. `activated`: silu follows. */
class Convolution extends Format {
  w!: usize; b!: usize; past!: usize; pastType!: i32; pastScale!: usize; d!: i32; k!: i32; activated!: i32;
}
export class CausalConv1d extends Convolution {
  static readonly code: i32 = 14;
  x!: usize; y!: usize;
}
/**
 * The same between dequantize and quantize. Each channel of x is multiplied by its own of `xChannels`, which may be absent. Where
 * `y` is absent, the result is quantized at once, in segments as those of a product.
 */
export class CausalConv1dI8 extends Convolution {
  static readonly code: i32 = 15;
  x!: usize; xScale!: usize; xScaleStride!: i32; xChannels!: usize; y!: usize;
}

/** `D` and `z` may be absent. The state h is kept as `hType` says, STATE_F32 …; only i8 has `hScale`. */
class Scan extends Format {
  u!: usize; dt!: usize; A!: usize; B!: usize; C!: usize; D!: usize; z!: usize; h!: usize;
  hType!: i32; hScale!: usize; y!: usize; d!: i32; n!: i32;
}
export class SelectiveScan extends Scan {
  static readonly code: i32 = 16;
}
/**
 * The same behind dequantize and softplus: u, dt, B, C and z are i8. Where all rows share the scale of dt, `dtScale` is the
 * table of softplus(scale · q) for all 256 values of q; likewise `zScale` and silu. Each channel of u is multiplied by its
 * own of `channels`, which may be absent.
 */
export class SelectiveScanI8 extends Scan {
  static readonly code: i32 = 17;
  uScale!: usize; uScaleStride!: i32; dtScale!: usize; dtScaleStride!: i32; BScale!: usize;
  BScaleStride!: i32; CScale!: usize; CScaleStride!: i32; zScale!: usize; zScaleStride!: i32; channels!: usize;
}

/** n = outer · K · run. `signs`: i32[K, K], the sign bits of M_K or of its transpose. */
class Rotation extends Format {
  x!: usize; n!: i32; outer!: i32; K!: i32; run!: i32; signs!: usize; norm!: f32;
}
export class Fwht extends Rotation {
  static readonly code: i32 = 18 | BY_ROWS;
  y!: usize;
}
/** The same before quantize. Where `scaleStride` is not 0, the scales are measured. */
export class FwhtQuantize extends Rotation {
  static readonly code: i32 = 19 | BY_ROWS;
  scale!: usize; scaleStride!: i32; q!: usize;
}

/**
 * silu(x) · up before quantize, and rotated before that where K is not 0. x and up are n columns, from the byte `start` of each row on; a
 * row has `xStride` bytes. Where `scaleStride` is not 0, the scales are measured.
 */
export class SwigluQuantize extends Rotation {
  static readonly code: i32 = 38 | BY_ROWS;
  start!: i32; xStride!: i32; up!: usize; upStart!: i32; upStride!: i32; scale!: usize; scaleStride!: i32; q!: usize;
}

export class ScaleChannels extends Rows {
  static readonly code: i32 = 20 | BY_ROWS;
  c!: usize; inverse!: i32;
}

export class AbsmaxScale extends Format {
  static readonly code: i32 = 21 | BY_ROWS;
  x!: usize; scale!: usize; n!: i32;
}

/** n columns of x, from the byte `start` of each row on; a row has `xStride` bytes. */
export class Quantize extends Quantized {
  static readonly code: i32 = 22 | BY_ROWS;
  start!: i32; xStride!: i32;
}

/**
 * All columns of x in segments, each to a tensor of its own. A segment is five words behind the operands: the end of its
 * columns, its scale, scaleStride, q, and the channels by which its columns are divided first, or 0. Where scaleStride is not 0,
 * the scale of each row is measured.
 */
export class QuantizeSegments extends Format {
  static readonly code: i32 = 23 | BY_ROWS;
  x!: usize; width!: i32; segments!: i32;
}

export class Dequantize extends Quantized {
  static readonly code: i32 = 24 | BY_ROWS;
}

export class DequantizeI4 extends Format {
  static readonly code: i32 = 25 | BY_ROWS;
  q!: usize; scale!: usize; x!: usize; n!: i32; groups!: i32;
}

/** A row of y has only `size` of the values, from `start` on. */
export class Slice extends Rows {
  static readonly code: i32 = 26 | BY_ROWS;
  start!: i32; size!: i32;
}

/**
 * The steps of every head, and the decays behind them, [rows][h] each: dt is i8 where it has a scale, and then multiplied by
 * `dtChannels`, which may be absent. `bias` may be absent.
 */
export class SsdSteps extends Format {
  static readonly code: i32 = 29 | BY_ROWS;
  dt!: usize; dtScale!: usize; dtScaleStride!: i32; dtChannels!: usize; bias!: usize; A!: usize;
  steps!: usize; h!: i32; lo!: f32; hi!: f32;
}
/**
 * The scan of h heads of p channels and n states, in g groups, by the steps and decays. x, B and C are i8 where they have a scale,
 * and then multiplied by their channels, which may be absent. `D` may be absent.
 */
export class SsdScan extends Format {
  static readonly code: i32 = 30;
  steps!: usize; x!: usize; xScale!: usize; xScaleStride!: i32; xChannels!: usize; B!: usize;
  BScale!: usize; BScaleStride!: i32; BChannels!: usize; C!: usize; CScale!: usize;
  CScaleStride!: i32; CChannels!: usize; D!: usize; h!: usize; hType!: i32; hScale!: usize; y!: usize;
  heads!: i32; p!: i32; n!: i32; groups!: i32;
}

/**
 * z is i8 where it has a scale, and then multiplied by `zChannels`, which may be absent. `w` may be absent. Where `q` is absent,
 * y is the result, else its integers are; where `scaleStride` is not 0, the scale of each row is measured.
 */
export class GatedRmsNorm extends Format {
  static readonly code: i32 = 31 | BY_ROWS;
  x!: usize; z!: usize; zScale!: usize; zScaleStride!: i32; zChannels!: usize; w!: usize; y!: usize;
  scale!: usize; scaleStride!: i32; q!: usize; n!: i32; groups!: i32; eps!: f32;
}

/** Reads as many cache lines and does nothing else. */
export class Read extends Format {
  static readonly code: i32 = 27;
  from!: usize; lines!: i32;
}

/** Multiplies in registers and does nothing else. */
export class Multiply extends Format {
  static readonly code: i32 = 28;
  rounds!: i32;
}
