/** What an instruction does, by number: written by program.ts, read by assembly/execute.ts, which imports this file. */
export const EMBEDDING = 1;
export const EMBEDDING_I8 = 2;
export const ADD = 3;
export const RMS_NORM = 4;
export const LINEAR = 5;
export const LINEAR_I8 = 6;
export const CAUSAL_CONV1D = 7;
export const SOFTPLUS = 8;
export const SILU = 9;
export const NEG_EXP = 10;
export const SELECTIVE_SCAN = 11;
export const FWHT = 12;
export const SCALE_CHANNELS = 13;
export const ABSMAX_SCALE = 14;
export const QUANTIZE = 15;
export const DEQUANTIZE = 16;
export const SLICE = 17;

/** An instruction is an opcode and up to 15 arguments, each an i32. */
export const INSTRUCTION_BYTES = 64;
