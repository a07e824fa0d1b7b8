import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test-web/**/*.test.ts'],
    reporters: ['default'],
    maxWorkers: 2, // each has a browser
    testTimeout: 120_000,
    hookTimeout: 120_000,
    expect: { poll: { timeout: 30_000 } },
  },
});
