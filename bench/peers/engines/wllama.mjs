/**
 * llama.cpp as the npm package wllama: WebAssembly, which runs only in a page, here in headless Chromium. It takes a text
 * and not token ids; in a file that was exported without a tokenizer the text [17] is token 17. The seconds are its own
 * count of the engine's time, without the page's.
 */
import { fileURLToPath } from 'node:url';
import { openPage } from '../../page.mjs';

const PACKAGE = new URL('../node_modules/@wllama/wllama/esm/', import.meta.url);

/** @param work folder for the browser's profile, which the caller removes */
export async function open({ file, model, threads, work, context }) {
  const paths = {
    '/wllama.js': fileURLToPath(new URL('index.js', PACKAGE)),
    '/wllama.wasm': fileURLToPath(new URL('wasm/wllama.wasm', PACKAGE)),
    '/model.gguf': file,
  };
  const { page, about, close } = await openPage(paths, work);
  try {
    const n_ctx = Math.max(512, context + 64);
    await page.evaluate(
      async sizes => {
        const { Wllama } = await import('/wllama.js');
        globalThis.engine = new Wllama({ default: '/wllama.wasm' }, { suppressNativeLog: true });
        const blob = await (await fetch('/model.gguf')).blob();
        await globalThis.engine.loadModel([blob], { ...sizes, n_batch: 512, n_gpu_layers: 0 });
      },
      { n_threads: threads, n_ctx },
    );
    const complete = async (ids, options) => {
      const answer = await page.evaluate(body => globalThis.engine.createCompletion(body), {
        prompt: ids.map(id => `[${id}]`).join(''),
        temperature: 0,
        ignore_eos: true,
        cache_prompt: false,
        ...options,
      });
      const { prompt_n, predicted_n } = answer.timings;
      if (prompt_n !== ids.length || predicted_n !== options.max_tokens)
        throw new Error(
          `wllama: asked for ${ids.length} + ${options.max_tokens} tokens; it ran ${prompt_n} + ${predicted_n}`,
        );
      return answer;
    };
    return {
      about,
      async measure(prompt, continuation) {
        const { timings } = await complete(prompt, { max_tokens: continuation.length });
        return { prefill: timings.prompt_ms / 1000, decode: timings.predicted_ms / 1000 };
      },
      /** It tells probabilities only after the end of a text, as JSON of a megabyte for each, so of a few positions. */
      async logits(ids) {
        const { vocabSize } = model.config;
        const positions = [1, 2, 3, 4].map(quarter => Math.floor((quarter * ids.length) / 4) - 1);
        const data = new Float32Array(positions.length * vocabSize);
        for (const [row, position] of positions.entries()) {
          const { choices } = await complete(ids.slice(0, position + 1), {
            max_tokens: 1,
            logprobs: vocabSize,
          });
          for (const { id, logprob } of choices[0].logprobs.content[0].top_logprobs)
            data[row * vocabSize + id] = logprob;
        }
        return { positions, data, shifted: true };
      },
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}
