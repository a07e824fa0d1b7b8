/** What an instruction does, by number: written by program.ts, read by assembly/execute.ts, which imports this file. */
export const EMBEDDING = 1;
export const EMBEDDING_I8 = 2;
export const ADD = 3;
export const RMS_NORM = 4;
export const PACK = 5;
export const LINEAR = 6;
export const PACK_I8 = 7;
export const LINEAR_I8 = 8;
export const CAUSAL_CONV1D = 9;
export const SOFTPLUS = 10;
export const SILU = 11;
export const NEG_EXP = 12;
export const SELECTIVE_SCAN = 13;
export const FWHT = 14;
export const SCALE_CHANNELS = 15;
export const ABSMAX_SCALE = 16;
export const QUANTIZE = 17;
export const DEQUANTIZE = 18;
export const SLICE = 19;
export const ADD_NORM_QUANTIZE = 20;
export const CAUSAL_CONV1D_I8 = 21;
export const SELECTIVE_SCAN_I8 = 22;
export const FWHT_QUANTIZE = 23;
export const LINEAR_I8_QUANTIZE = 24;
export const READ = 25;
export const MULTIPLY = 26;
export const QUANTIZE_SEGMENTS = 27;
export const SELECTIVE_SCAN_F16 = 28;
export const SELECTIVE_SCAN_F16_I8 = 29;
export const LINEAR_I4 = 30;
export const LINEAR_I4_QUANTIZE = 31;
export const DEQUANTIZE_I4 = 32;

/** An instruction is an opcode and up to 27 arguments, each an i32; then the two i64 by which threads share it. */
export const INSTRUCTION_BYTES = 128;
export const CLAIMED = 112;
export const DONE = 120;
