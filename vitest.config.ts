import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    reporters: ['default'],
    maxWorkers: 2, // a test that loads the model holds about 200 MB
    testTimeout: 120_000,
    hookTimeout: 120_000,
  },
});
