/**
 * One engine in a process of its own, so that it can fail alone. It answers calls from run.mjs one by one:
 *
 *   open(peer)                       what it says of itself
 *   measure(prompt, continuation)    { prefill, decode } in seconds: the prompt at once from an empty state, then the
 *                                    continuation token by token
 *   logits(ids)                      { positions, data f32[positions, v], shifted? }: a row may be shifted by a number
 *   close()
 */
import { openFloatModel, openFolder } from '../../dist/index.js';

/** @type {any} what an engine's `open` gives */
let engine;
/** @type {Record<string, (...given: any[]) => unknown>} */
const calls = {
  async open({ engine: name, checkpoint, ...options }) {
    const { open } = await import(`./engines/${name}.mjs`);
    engine = await open({ ...options, model: openFloatModel(openFolder(checkpoint)) });
    return engine.about;
  },
  async measure(prompt, continuation) {
    if (engine.measure) return engine.measure(prompt, continuation);
    await engine.reset();
    const start = performance.now();
    await engine.prefill(prompt);
    const middle = performance.now();
    await engine.decode(continuation);
    return { prefill: (middle - start) / 1000, decode: (performance.now() - middle) / 1000 };
  },
  async logits(ids) {
    await engine.reset?.();
    return engine.logits(ids);
  },
  close: () => engine?.close(),
};

process.on('message', async ({ call, given }) => {
  try {
    process.send?.({ answer: await calls[call](...given) });
  } catch (error) {
    process.send?.({ failure: String(error?.message ?? error).split('\n')[0] });
  }
});
