import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test-web/**/*.test.ts'],
    reporters: ['default'],
    maxWorkers: 2, // each has a browser
    maxConcurrency: 3, // pages of one
    // of a test that hangs: no test that runs takes so long, on a machine ten times slower, with others on it
    testTimeout: 3_600_000,
    hookTimeout: 3_600_000,
    expect: { poll: { timeout: 600_000 } },
  },
});
