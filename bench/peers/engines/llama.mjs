/** llama.cpp as the npm package node-llama-cpp: native code, prebuilt. */
import { getLlama } from 'node-llama-cpp';

export async function open({ file, model, threads, context: tokens }) {
  const llama = await getLlama({ gpu: false, build: 'never', logLevel: 'error', maxThreads: threads });
  const loaded = await llama.loadModel({ modelPath: file });
  const context = await loaded.createContext({
    contextSize: Math.max(512, tokens + 256), // a full one is shifted at every token (measured: 3 tokens/s in place of 21)
    batchSize: 512,
    threads: { ideal: threads, min: threads },
  });
  const sequence = context.getSequence();
  const { vocabSize } = model.config;
  const lastOnly = { generateNext: { logits: { filter: { tokens: [0] } } } };
  return {
    reset: () => sequence.clearHistory(),
    prefill: ids => sequence.controlledEvaluate([...ids.slice(0, -1), [ids.at(-1), lastOnly]]),
    /** Its own loop, which is faster than to hand it every token: it goes on with what it likes best. */
    async decode(ids) {
      let left = ids.length;
      for await (const _ of sequence.evaluate([ids[0]], { temperature: 0 })) if (--left === 0) break;
    },
    async logits(ids) {
      const results = await sequence.controlledEvaluate(
        ids.map(id => [id, { generateNext: { logits: true } }]),
      );
      const all = new Float32Array(ids.length * vocabSize);
      for (const [row, { next }] of results.entries())
        for (const [token, value] of next.logits) all[row * vocabSize + token] = value;
      return { positions: Array.from(ids.keys()), data: all };
    },
    close: () => llama.dispose(),
  };
}
