import { readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vite';

const here = fileURLToPath(new URL('.', import.meta.url));
const dist = fileURLToPath(new URL('../dist/', import.meta.url));
const pages = [
  'index.html',
  'inside.html',
  ...readdirSync(`${here}lessons`)
    .filter(name => name.endsWith('.html'))
    .map(name => `lessons/${name}`),
];

/** Threads share memory only in a page that is isolated from other origins: docs/browser.md. */
const headers = {
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Cross-Origin-Embedder-Policy': 'require-corp',
};

export default defineConfig({
  root: here,
  base: './', // the site works under any path
  resolve: {
    alias: [
      { find: /^quamba$/, replacement: `${dist}web/index.js` },
      // what the library has but does not offer: the measures of src/eval, parts of src/quant
      { find: /^lib\/(.*)\.ts$/, replacement: `${dist}$1.js` },
    ],
  },
  worker: { format: 'es' },
  build: {
    target: 'es2022',
    emptyOutDir: true,
    rolldownOptions: { input: pages.map(page => here + page) },
  },
  server: { headers, fs: { allow: ['..'] } },
  preview: { headers },
});
