import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';

const src = fileURLToPath(new URL('src/', import.meta.url));

export default defineConfig(({ mode }) => ({
  resolve: {
    // as web/vite.config.ts has them, for tests of what the pages compute
    alias: [
      { find: /^quamba$/, replacement: `${src}web/index.ts` },
      { find: /^lib\//, replacement: src },
    ],
  },
  test: {
    // in the mode `pages`: what writes pages that take minutes (npm run numerics, npm run planted-bugs)
    include: [mode === 'pages' ? 'test/**/*.page.ts' : 'test/**/*.test.ts'],
    reporters: ['default'],
    maxWorkers: 2, // a test that loads the model holds about 200 MB
    // of a test that hangs: no test that runs takes so long, on a machine ten times slower, with others on it
    testTimeout: 3_600_000,
    hookTimeout: 3_600_000,
  },
}));
