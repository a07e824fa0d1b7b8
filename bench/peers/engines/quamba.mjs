/** quamba itself, from dist, in Node. */
import { backends, prepare } from '../../../dist/index.js';
import { planFor } from './plan.mjs';

export async function open({ recipe, model, threads, all, context, isNominal }) {
  const plan = planFor({ recipe, model, threads, isNominal });
  const executable = prepare(backends.wasm, plan, { threads, context });
  await executable.ready;
  const sequence = executable.open();
  /** @type {(ids: number[], logits?: 'all' | 'last') => Float32Array} */
  const feed = (ids, logits) => sequence.feed(Int32Array.from(ids), { logits }).data;
  return {
    about: executable.about?.kernels,
    memory: () => executable.about?.memoryBytes,
    reset: () => sequence.load(),
    prefill: ids => feed(ids, all ? 'all' : 'last'),
    decode(ids) {
      for (const id of ids) feed([id]);
    },
    logits: ids => ({ positions: Array.from(ids.keys()), data: feed(ids) }),
    close: () => executable.dispose?.(),
  };
}
