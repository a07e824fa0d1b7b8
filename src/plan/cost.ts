/** What a token costs a GPU: the bytes that it moves, and the kernels that are launched for it. */
import { flatten, type Program, type Ref } from '../graph.ts';
import { parse } from '../signature.ts';
import { statesBytes } from '../state.ts';
import { sizeOf } from '../tensor.ts';
import { foldConstants } from './fold.ts';

export interface Cost {
  readonly bytes: number;
  readonly launches: number;
}

/** The kernels that others are joined to: a launch each. */
const ANCHORS = ['embedding', 'rms-norm', 'linear', 'linear-i8', 'causal-conv1d', 'selective-scan', 'fwht'];

/**
 * Bytes: every constant once, of a table one row, the states read and written. Matrices that stay float count as f16, as public
 * checkpoints have them; other floats are f32.
 */
export function costOf(program: Program): Cost {
  const { graph } = foldConstants(program);
  const read = new Map<Ref, number>();
  const nodes = flatten(graph.nodes);
  for (const { op, in: inputs } of nodes)
    for (const [key, ref] of Object.entries(inputs)) {
      const constant = graph.weights.get(ref);
      if (!constant) continue;
      const { shape } = constant;
      const isMatrix = key === 'w' && (op.name === 'linear' || op.name === 'embedding');
      const width = parse(op.inputs[key]).dtype === 'i8' ? 1 : isMatrix ? 2 : 4;
      const rows = inputs.tokens === graph.input && inputs.w !== undefined ? shape[0] : 1;
      read.set(ref, Math.max(read.get(ref) ?? 0, (sizeOf(shape) * width) / rows));
    }
  const states = 2 * statesBytes(graph.states, 0);
  const bytes = [...read.values()].reduce((sum, size) => sum + size, states);
  return { bytes, launches: nodes.filter(({ op }) => ANCHORS.includes(op.name)).length };
}
