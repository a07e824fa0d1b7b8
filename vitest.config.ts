import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';

const src = fileURLToPath(new URL('src/', import.meta.url));

export default defineConfig({
  resolve: {
    // as web/vite.config.ts has them, for tests of what the pages compute
    alias: [
      { find: /^quamba$/, replacement: `${src}web/index.ts` },
      { find: /^lib\//, replacement: src },
    ],
  },
  test: {
    include: ['test/**/*.test.ts'],
    reporters: ['default'],
    maxWorkers: 2, // a test that loads the model holds about 200 MB
    testTimeout: 120_000,
    hookTimeout: 120_000,
  },
});
