import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';
import { BaseSequencer, type TestSpecification } from 'vitest/node';

const src = fileURLToPath(new URL('src/', import.meta.url));

/** They begin first and in this order, the longest before the others, so that none of them runs alone at the end. */
const LONG = [
  'golden/hashes',
  'golden/hashes-calibrated',
  'backends/cuda/emulated',
  'conformance/conformance',
  'backends/cuda/library',
  'conformance/families',
  'conformance/exec',
  'conformance/bounds',
  'conformance/tolerated',
  'cli/conform',
  'quant/real-ranges',
];

class LongFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const place = ({ moduleId }: TestSpecification) => {
      const found = LONG.findIndex(name => moduleId.endsWith(`/${name}.test.ts`));
      return found < 0 ? LONG.length : found;
    };
    return (await super.sort(files)).sort((a, b) => place(a) - place(b));
  }
}

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
    sequence: { sequencer: LongFirst },
    maxWorkers: 3, // a test that loads the model holds about 200 MB; of two cores one would idle while tests wait for programs
    // of a test that hangs: no test that runs takes so long, on a machine ten times slower, with others on it
    testTimeout: 3_600_000,
    hookTimeout: 3_600_000,
  },
}));
