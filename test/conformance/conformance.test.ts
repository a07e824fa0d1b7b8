/** Hosts the conformance suite for our own backends. */
import { describe, expect, it } from 'vitest';
import type { Backend } from '../../src/backends/backend.ts';
import { reference } from '../../src/backends/reference.ts';
import { goldens } from '../../src/conformance/goldens.ts';
import { conformance } from '../../src/conformance/suite.ts';
import { groupBy } from '../../src/group-by.ts';
import { variants } from '../backends/feeds.ts';
import { answer, workFolder } from '../cli/run.ts';

const familyOf = ({ address }: { readonly address: string }): string =>
  /^(?:op\/[^/]+|determinism\/threads|[^/]+)/.exec(address)![0];

const hosted: (readonly [string, Backend, readonly number[]])[] = [
  ['reference', reference, [1]],
  ...variants.map(([name, backend]) => [`wasm ${name}`, backend, [1, 2]] as const),
];
describe.each(hosted)('%s', (_, backend, threads) => {
  const cases = conformance(backend, { goldens: goldens(), threads });
  it.each([...groupBy(cases, familyOf)])('%s', (__, family) => {
    const results = family.map(one => ({ address: one.address, ...one.run() }));
    expect(results.filter(({ outcome }) => outcome !== 'pass' && outcome !== 'skipped')).toEqual([]);
  });
});

/** test/golden/logits.ts has every recipe on the embedded model; here is what the command makes of one. */
it('wasm with the embedded model', async () => {
  const counts = await answer(
    workFolder(),
    'conform',
    '--backend',
    'wasm',
    '--filter',
    'perplexity/embedded',
  );
  expect(counts).toMatchObject({ passed: 1, failed: 0, unsupported: 0, skipped: 0, errors: 0 });
});
