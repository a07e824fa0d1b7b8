/**
 * One engine in a process of its own, so that it can fail alone. It answers calls from run.mjs one by one:
 *
 *   open(peer)                       what it says of itself
 *   memory()                         bytes of its own memory now, of quamba in Node: weights, states, cache, values
 *   prefill(ids), decode(ids)        seconds, from where the engine is: all at once, or token by token
 *   measure(prompt, continuation)    { prefill, decode } in seconds: the prompt at once from an empty state, then the
 *                                    continuation token by token
 *   reset()
 *   logits(ids)                      { positions, data f32[positions, v], shifted? }: a row may be shifted by a number
 *   close()
 */
import { openFloatModel, openFolder } from '../../dist/index.js';
import { randomModel } from '../../dist/random/model.js';
import { shapes } from '../../dist/random/shapes.js';

/** @type {any} what an engine's `open` gives */
let engine;
/** @type {Record<string, (...given: any[]) => unknown>} */
const calls = {
  /** The model is that of a folder, or random weights in a shape, which are then not calibrated. */
  async open({ engine: name, checkpoint, shape, ...options }) {
    const { open } = await import(`./engines/${name}.mjs`);
    const model = shape ? randomOf(shape) : openFloatModel(openFolder(checkpoint));
    engine = await open({ ...options, model, isNominal: shape !== undefined });
    return engine.about;
  },
  memory: () => engine.memory?.(),
  reset: () => engine.reset(),
  prefill: ids => seconds(() => engine.prefill(ids)),
  decode: ids => seconds(() => engine.decode(ids)),
  async measure(prompt, continuation) {
    if (engine.measure) return engine.measure(prompt, continuation);
    await engine.reset();
    const prefill = await seconds(() => engine.prefill(prompt));
    return { prefill, decode: await seconds(() => engine.decode(continuation)) };
  },
  async logits(ids) {
    await engine.reset?.();
    return engine.logits(ids);
  },
  close: () => engine?.close(),
};

async function seconds(work) {
  const start = performance.now();
  await work();
  return (performance.now() - start) / 1000;
}

const randomOf = shape => ({ program: randomModel(shapes[shape], 1), config: shapes[shape] });

process.on('message', async ({ call, given }) => {
  try {
    process.send?.({ answer: await calls[call](...given) });
  } catch (error) {
    process.send?.({ failure: String(error?.message ?? error).split('\n')[0] });
  }
});
