/** quamba itself, from dist, in Node. */
import { backends, initialState, prepare } from '../../../dist/index.js';
import { planFor } from './plan.mjs';

export async function open({ recipe, model, threads, all }) {
  const plan = planFor({ recipe, model, threads });
  const executable = prepare(backends.wasm, plan, { threads });
  await executable.ready;
  let state = initialState(plan);
  const feed = (ids, logits) => {
    const result = executable.feed(Int32Array.from(ids), state, { giveUp: true, logits });
    state = result.state;
    return result.logits.data;
  };
  return {
    about: executable.about?.kernels,
    reset: () => {
      state = initialState(plan);
    },
    prefill: ids => feed(ids, all ? 'all' : 'last'),
    decode(ids) {
      for (const id of ids) feed([id]);
    },
    logits: ids => ({ positions: Array.from(ids.keys()), data: feed(ids) }),
    close: () => executable.dispose?.(),
  };
}
