// Runs a plan: a table of instructions, each an opcode of src/backends/wasm/opcodes.ts and its arguments (pointers, sizes,
// the bits of an f32), in order. One call from JavaScript runs all layers for a chunk of rows.
import * as op from '../src/backends/wasm/opcodes';
import { FAILED, LOST } from '../src/backends/wasm/sync';
import { absmaxScale } from './absmax-scale';
import { add } from './add';
import { causalConv1d, causalConv1dI8 } from './causal-conv1d';
import { multiply, read } from './ceilings';
import { dequantize } from './dequantize';
import { dequantizeI4 } from './dequantize-i4';
import { embedding } from './embedding';
import { embeddingI8 } from './embedding-i8';
import { fwht, fwhtQuantize } from './fwht';
import { linear, pack } from './linear';
import { linearI4, linearI4Quantize } from './linear-i4';
import { linearI8, linearI8Quantize, packI8 } from './linear-i8';
import { negExp } from './neg-exp';
import { quantize, quantizeSegments } from './quantize';
import { addNormQuantize, rmsNorm } from './rms-norm';
import { scaleChannels } from './scale-channels';
import { selectiveScan, selectiveScanI8 } from './selective-scan';
import { silu } from './silu';
import { slice } from './slice';
import { softplus } from './softplus';
import { alone, crew, finish, settle, take, whole } from './threads';

@inline function i(at: usize, index: usize): i32 { return load<i32>(at + (index << 2)); }
@inline function p(at: usize, index: usize): usize { return load<usize>(at + (index << 2)); }
@inline function f(at: usize, index: usize): f32 { return load<f32>(at + (index << 2)); }

/** Runs the instructions from `at` to `end` on `rows` rows. Returns 0, where the one is that met a NaN, or LOST. */
export function execute(at: usize, end: usize, rows: i32): usize {
  while (at < end) {
    let next = at + op.INSTRUCTION_BYTES;
    if (rows == 1 && i(at, 0) == op.PACK_I8) { // the product does it
      at = next;
      continue;
    }
    if (alone()) step(at, rows);
    else {
      // Of a single row, who finishes an instruction goes on with those behind it that one thread does.
      const begin = next, all = rows == 1 && takesRows(i(at, 0)) ? 1 : crew();
      if (rows == 1) while (next < end && takesRows(i(next, 0))) next += op.INSTRUCTION_BYTES;
      const more = next > begin;
      while (take(at, all)) {
        step(at, rows);
        if (!finish(at, all) || !more) continue;
        whole();
        for (let each = begin; each < next && !load<usize>(FAILED); each += op.INSTRUCTION_BYTES) step(each, rows);
        finish(at, all + 1);
      }
      if (!settle(at, more ? all + 1 : all)) return LOST;
    }
    const failed = load<usize>(FAILED);
    if (failed && failed < next) return failed; // a faster thread may have failed further on already
    at = next;
  }
  return 0;
}

/** Whether threads share an instruction by rows; else by channels, outputs or places. */
function takesRows(code: i32): bool {
  switch (code) {
    case op.EMBEDDING:
    case op.EMBEDDING_I8:
    case op.RMS_NORM:
    case op.PACK:
    case op.FWHT:
    case op.SCALE_CHANNELS:
    case op.ABSMAX_SCALE:
    case op.QUANTIZE:
    case op.DEQUANTIZE:
    case op.DEQUANTIZE_I4:
    case op.SLICE:
    case op.ADD_NORM_QUANTIZE:
    case op.FWHT_QUANTIZE:
    case op.QUANTIZE_SEGMENTS: return true;
    default: return false;
  }
}

function step(at: usize, rows: i32): void {
  switch (i(at, 0)) {
    case op.EMBEDDING: embedding(rows, p(at, 1), p(at, 2), p(at, 3), i(at, 4)); break;
    case op.EMBEDDING_I8: embeddingI8(rows, p(at, 1), p(at, 2), p(at, 3), p(at, 4), i(at, 5)); break;
    case op.ADD: add(rows, p(at, 1), p(at, 2), p(at, 3), i(at, 4)); break;
    case op.RMS_NORM: rmsNorm(rows, p(at, 1), p(at, 2), p(at, 3), i(at, 4), f(at, 5)); break;
    case op.PACK: pack(rows, p(at, 1), p(at, 2), i(at, 3)); break;
    case op.LINEAR: linear(rows, p(at, 1), p(at, 2), p(at, 3), p(at, 4), i(at, 5), i(at, 6)); break;
    case op.PACK_I8: packI8(rows, p(at, 1), p(at, 2), i(at, 3), i(at, 4)); break;
    case op.LINEAR_I8:
      linearI8(
        rows, p(at, 1), p(at, 2), p(at, 3), i(at, 4), p(at, 5), p(at, 6), p(at, 7), i(at, 8), i(at, 9), i(at, 10), p(at, 11),
      );
      break;
    case op.LINEAR_I8_QUANTIZE:
      linearI8Quantize(
        at, rows, p(at, 1), p(at, 2), p(at, 3), i(at, 4), p(at, 5), p(at, 6), p(at, 7), i(at, 8), i(at, 9), i(at, 10),
        at + (11 << 2),
      );
      break;
    case op.LINEAR_I4:
      linearI4(
        rows, p(at, 1), p(at, 2), p(at, 3), i(at, 4), p(at, 5), p(at, 6), p(at, 7), i(at, 8), i(at, 9), i(at, 10), p(at, 11),
      );
      break;
    case op.LINEAR_I4_QUANTIZE:
      linearI4Quantize(
        at, rows, p(at, 1), p(at, 2), p(at, 3), i(at, 4), p(at, 5), p(at, 6), p(at, 7), i(at, 8), i(at, 9), i(at, 10),
        at + (11 << 2),
      );
      break;
    case op.CAUSAL_CONV1D:
      causalConv1d(rows, p(at, 1), p(at, 2), p(at, 3), p(at, 4), p(at, 5), i(at, 6), i(at, 7), i(at, 8));
      break;
    case op.SOFTPLUS: softplus(rows, p(at, 1), p(at, 2), i(at, 3)); break;
    case op.SILU: silu(rows, p(at, 1), p(at, 2), i(at, 3)); break;
    case op.NEG_EXP: negExp(rows, p(at, 1), p(at, 2), i(at, 3)); break;
    case op.SELECTIVE_SCAN:
    case op.SELECTIVE_SCAN_F16:
    case op.SELECTIVE_SCAN_I8STATE:
      selectiveScan(
        rows, p(at, 1), p(at, 2), p(at, 3), p(at, 4), p(at, 5), p(at, 6), p(at, 7), p(at, 8), p(at, 9), i(at, 10), i(at, 11),
        i(at, 0) == op.SELECTIVE_SCAN_F16, p(at, 12),
      );
      break;
    case op.FWHT: fwht(rows, p(at, 1), p(at, 2), i(at, 3), i(at, 4), i(at, 5), i(at, 6), p(at, 7), f(at, 8)); break;
    case op.SCALE_CHANNELS: scaleChannels(rows, p(at, 1), p(at, 2), p(at, 3), i(at, 4), i(at, 5)); break;
    case op.ABSMAX_SCALE: absmaxScale(rows, p(at, 1), p(at, 2), i(at, 3)); break;
    case op.QUANTIZE: quantize(at, rows, p(at, 1) + p(at, 2), p(at, 3), p(at, 4), i(at, 5), p(at, 6), i(at, 7)); break;
    case op.DEQUANTIZE: dequantize(rows, p(at, 1), p(at, 2), i(at, 3), p(at, 4), i(at, 5)); break;
    case op.DEQUANTIZE_I4: dequantizeI4(rows, p(at, 1), p(at, 2), p(at, 3), i(at, 4), i(at, 5)); break;
    case op.SLICE: slice(rows, p(at, 1), p(at, 2), i(at, 3), i(at, 4), i(at, 5)); break;
    case op.ADD_NORM_QUANTIZE:
      addNormQuantize(at, rows, p(at, 1), p(at, 2), p(at, 3), p(at, 4), p(at, 5), i(at, 6), p(at, 7), i(at, 8), f(at, 9));
      break;
    case op.CAUSAL_CONV1D_I8:
      causalConv1dI8(
        at, rows, p(at, 1), p(at, 2), i(at, 3), p(at, 4), p(at, 5), p(at, 6), p(at, 7), p(at, 8), i(at, 9), i(at, 10), i(at, 11),
        p(at, 12),
      );
      break;
    case op.SELECTIVE_SCAN_I8:
    case op.SELECTIVE_SCAN_F16_I8:
    case op.SELECTIVE_SCAN_I8STATE_I8:
      selectiveScanI8(
        rows, p(at, 1), p(at, 2), i(at, 3), p(at, 4), p(at, 5), i(at, 6), p(at, 7), p(at, 8), p(at, 9), i(at, 10), p(at, 11),
        p(at, 12), i(at, 13), p(at, 14), p(at, 15), p(at, 16), i(at, 17), p(at, 18), p(at, 19), i(at, 20), i(at, 21),
        p(at, 22), i(at, 0) == op.SELECTIVE_SCAN_F16_I8, p(at, 23),
      );
      break;
    case op.FWHT_QUANTIZE:
      fwhtQuantize(
        at, rows, p(at, 1), p(at, 2), i(at, 3), p(at, 4), i(at, 5), i(at, 6), i(at, 7), i(at, 8), p(at, 9), f(at, 10),
      );
      break;
    case op.QUANTIZE_SEGMENTS: quantizeSegments(at, rows, p(at, 1), i(at, 2), i(at, 3), at + (4 << 2)); break;
    case op.READ: read(p(at, 1), i(at, 2)); break;
    case op.MULTIPLY: multiply(i(at, 1)); break;
    default: unreachable();
  }
}
