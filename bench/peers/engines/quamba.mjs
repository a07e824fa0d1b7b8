/** quamba itself, from dist. Static scales are taken from random tokens, since a model of random weights has no text. */
import {
  backends,
  calibrate,
  initialState,
  planOf,
  prepare,
  recipe as recipeNamed,
} from '../../../dist/index.js';
import { random } from '../../../dist/text/random.js';

const CALIBRATION = { windows: 4, tokens: 64 };

export async function open({ recipe, model, threads, all }) {
  const backend = backends.wasm;
  const scheme = recipeNamed(recipe);
  const { vocabSize } = model.config;
  const next = random(1);
  const samples = Array.from({ length: CALIBRATION.windows }, () =>
    Int32Array.from({ length: CALIBRATION.tokens }, () => Math.floor(next() * vocabSize)),
  );
  const stats = calibrate(model.program, scheme, samples, {
    prepare: part => prepare(backend, part, { threads }),
  });
  const plan = planOf(model.program, scheme, stats);
  const executable = prepare(backend, plan, { threads });
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
