/**
 * llama.cpp as the npm package wllama: WebAssembly, which runs only in a page, here in headless Chromium. It takes a text
 * and not token ids; in a file that was exported without a tokenizer the text [17] is token 17. The seconds are its own
 * count of the engine's time, without the page's.
 */
import { createReadStream, mkdtempSync, statSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';

const ARGUMENTS =
  '--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-component-update --disable-sync';
const PACKAGE = new URL('../node_modules/@wllama/wllama/esm/', import.meta.url);
const TYPES = { js: 'text/javascript', wasm: 'application/wasm' };
/** Threads need a page that is isolated from other origins. */
const ISOLATED = {
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Cross-Origin-Embedder-Policy': 'require-corp',
};

const CHROMIUM = process.env.CHROMIUM ?? '/usr/bin/chromium';

/** @param work folder for the browser's profile, which the caller removes */
export async function open({ file, model, threads, work }) {
  const paths = {
    '/wllama.js': fileURLToPath(new URL('index.js', PACKAGE)),
    '/wllama.wasm': fileURLToPath(new URL('wasm/wllama.wasm', PACKAGE)),
    '/model.gguf': file,
  };
  const server = createServer(({ url }, response) => {
    const path = paths[url];
    const type = TYPES[url.split('.').at(-1)] ?? 'text/html';
    response.writeHead(path || url === '/' ? 200 : 404, {
      ...ISOLATED,
      'Content-Type': type,
      ...(path && { 'Content-Length': statSync(path).size }),
    });
    if (path) createReadStream(path).pipe(response);
    else response.end('<!doctype html><title>wllama</title>');
  });
  await new Promise(listening => server.listen(0, '127.0.0.1', listening));
  let context;
  const close = async () => {
    await context?.close();
    server.close();
  };
  try {
    context = await chromium.launchPersistentContext(mkdtempSync(join(work, 'browser-')), {
      executablePath: CHROMIUM,
      headless: true,
      args: ARGUMENTS.split(' '),
    });
    const page = await context.newPage();
    await page.goto(`http://127.0.0.1:${server.address().port}/`);
    await page.evaluate(async n_threads => {
      const { Wllama } = await import('/wllama.js');
      globalThis.engine = new Wllama({ default: '/wllama.wasm' }, { suppressNativeLog: true });
      const blob = await (await fetch('/model.gguf')).blob();
      await globalThis.engine.loadModel([blob], { n_ctx: 512, n_batch: 512, n_threads, n_gpu_layers: 0 });
    }, threads);
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
      about: `Chromium ${context.browser()?.version()}`,
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
