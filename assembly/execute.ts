// Runs a plan: a table of instructions, in order. One call from JavaScript runs all layers for a pass of rows. Each kernel reads
// its operands from the instruction, by the names of src/backends/wasm/instruction-formats.ts.
import * as op from '../src/backends/wasm/instruction-formats';
import { FAILED, LOST } from '../src/backends/wasm/sync';
import { absmaxScale } from './absmax-scale';
import { add } from './add';
import { attention, keep } from './attention';
import { causalConv1d, causalConv1dI8 } from './causal-conv1d';
import { multiply, read } from './ceilings';
import { dequantize } from './dequantize';
import { dequantizeI4 } from './dequantize-i4';
import { embedding } from './embedding';
import { embeddingI8 } from './embedding-i8';
import { fwht, fwhtQuantize } from './fwht';
import { gatedRmsNorm } from './gated-rms-norm';
import { linear, pack } from './linear';
import { linearI4 } from './linear-i4';
import { linearI8, packI8 } from './linear-i8';
import { negExp } from './neg-exp';
import { quantize, quantizeSegments } from './quantize';
import { addNormQuantize, rmsNorm } from './rms-norm';
import { rope } from './rope';
import { ropeTable } from './rope-table';
import { scaleChannels } from './scale-channels';
import { selectiveScan, selectiveScanI8 } from './selective-scan';
import { barrier, finish, isAlone, take, takeAll, threadCount } from './share';
import { silu } from './silu';
import { slice } from './slice';
import { softplus } from './softplus';
import { squaredRelu } from './squared-relu';
import { ssdScan, ssdSteps } from './ssd-scan';
import { swiglu, swigluQuantize } from './swiglu';

@inline function opcode(at: usize): i32 { return changetype<op.Format>(at).opcode; }
/** Whether threads share an instruction by rows. A single row of it is then the work of one thread. */
@inline function isByRows(at: usize): bool { return (opcode(at) & op.BY_ROWS) != 0; }

/** Runs the instructions from `at` to `end` on `rows` rows. Returns 0, the address of the one that met a NaN, or LOST. */
export function execute(at: usize, end: usize, rows: i32): usize {
  while (at < end) {
    let next = at + op.INSTRUCTION_BYTES;
    if (rows == 1 && opcode(at) == op.PackI8.code) { // a product reads a single row as it is
      at = next;
      continue;
    }
    if (isAlone()) step(at, rows);
    else {
      // With a single row, the thread that finishes this instruction also runs the instructions behind it that are work for
      // one thread (`next` moves past them). They are one part more, so that the others wait for them at the same barrier.
      const follower = next, parts = rows == 1 && isByRows(at) ? 1 : threadCount();
      if (rows == 1) while (next < end && isByRows(next)) next += op.INSTRUCTION_BYTES;
      const hasFollowers = next > follower;
      while (take(at, parts)) {
        step(at, rows);
        if (!finish(at, parts) || !hasFollowers) continue;
        takeAll();
        for (let each = follower; each < next && !load<usize>(FAILED); each += op.INSTRUCTION_BYTES) step(each, rows);
        finish(at, parts + 1);
      }
      if (!barrier(at, hasFollowers ? parts + 1 : parts)) return LOST;
    }
    const failed = load<usize>(FAILED);
    if (failed && failed < next) return failed; // a faster thread may already have failed at a later instruction
    at = next;
  }
  return 0;
}

function step(at: usize, rows: i32): void {
  switch (opcode(at)) {
    case op.Embedding.code: embedding(at, rows); break;
    case op.EmbeddingI8.code: embeddingI8(at, rows); break;
    case op.Add.code: add(at, rows); break;
    case op.Softplus.code: softplus(at, rows); break;
    case op.Silu.code: silu(at, rows); break;
    case op.NegExp.code: negExp(at, rows); break;
    case op.SquaredRelu.code: squaredRelu(at, rows); break;
    case op.Swiglu.code: swiglu(at, rows); break;
    case op.SwigluQuantize.code: swigluQuantize(at, rows); break;
    case op.RopeTable.code: ropeTable(at, rows); break;
    case op.Rope.code: rope(at, rows); break;
    case op.Keep.code: keep(at, rows); break;
    case op.Attention.code: attention(at, rows); break;
    case op.RmsNorm.code: rmsNorm(at, rows); break;
    case op.AddNormQuantize.code: addNormQuantize(at, rows); break;
    case op.Pack.code: pack(at, rows); break;
    case op.Linear.code: linear(at, rows); break;
    case op.PackI8.code: packI8(at, rows); break;
    case op.LinearI8.code: linearI8(at, rows); break;
    case op.LinearI4.code: linearI4(at, rows); break;
    case op.CausalConv1d.code: causalConv1d(at, rows); break;
    case op.CausalConv1dI8.code: causalConv1dI8(at, rows); break;
    case op.SelectiveScan.code: selectiveScan(at, rows); break;
    case op.SelectiveScanI8.code: selectiveScanI8(at, rows); break;
    case op.Fwht.code: fwht(at, rows); break;
    case op.FwhtQuantize.code: fwhtQuantize(at, rows); break;
    case op.ScaleChannels.code: scaleChannels(at, rows); break;
    case op.AbsmaxScale.code: absmaxScale(at, rows); break;
    case op.Quantize.code: quantize(at, rows); break;
    case op.QuantizeSegments.code: quantizeSegments(at, rows); break;
    case op.Dequantize.code: dequantize(at, rows); break;
    case op.DequantizeI4.code: dequantizeI4(at, rows); break;
    case op.Slice.code: slice(at, rows); break;
    case op.SsdSteps.code: ssdSteps(at, rows); break;
    case op.SsdScan.code: ssdScan(at, rows); break;
    case op.GatedRmsNorm.code: gatedRmsNorm(at, rows); break;
    case op.Read.code: read(at, rows); break;
    case op.Multiply.code: multiply(at, rows); break;
    default: unreachable();
  }
}
