/** Which cases of the conformance suite are run on which planted bug, and on which backend that has it. */
import { readFileSync } from 'node:fs';
import { type Backend, prepare } from '../../src/backends/backend.ts';
import { reference } from '../../src/backends/reference.ts';
import { type Broken, brokenBackends } from '../../src/conformance/broken/index.ts';
import type { Case, Profile } from '../../src/conformance/case.ts';
import { forms } from '../../src/conformance/forms.ts';
import { goldens } from '../../src/conformance/goldens.ts';
import { conformance } from '../../src/conformance/suite.ts';

const stored = goldens();

/** The bugs that a kernel may have. */
export const inKernels = brokenBackends.filter(({ op, backend }) => op || !backend.prepare);

/**
 * `kernel`   its kernels are wrong, and its plans are right: what the cases of one op judge
 * `plan`     its kernels are right, and its plans are wrong: what all other cases judge
 *
 * A backend of kernels alone runs plans by them, and fails both.
 */
export type Host = 'kernel' | 'plan';

/** A backend that has the bug there alone. */
function hosted({ backend }: Broken, host: Host): Backend {
  const { name, kernelOf } = backend;
  if (host === 'kernel') return { name, kernelOf, prepare: program => prepare(reference, program) };
  const kernels = { ...backend, kernelOf: reference.kernelOf };
  return { ...kernels, prepare: (...given) => prepare(backend, ...given) };
}

const ofKernels = new Set(forms.flatMap(({ name }) => [`state/${name}`, `determinism/${name}`]));
const isOfKernel = (address: string) => /^(?:op|hygiene)\//.test(address) || ofKernels.has(address);

/**
 * On whole plans only the quick cases and those of determinism, since the plans of other recipes differ in what a bug does not see.
 * Of kernels, the sizes of real models only for what shows from some size on.
 */
const isSought = (host: Host, { op, fromSomeSize }: Broken, { address, ops, quick }: Case): boolean => {
  if ((host === 'kernel') !== isOfKernel(address) || (op && !ops.includes(op))) return false;
  if (address.includes('/width/')) return host === 'plan' || fromSomeSize === true;
  return host === 'kernel' ? op !== undefined || quick : quick || address.startsWith('determinism');
};

/** The cases that are run on a bug. */
export const casesOf = (broken: Broken, host: Host, profile: Profile): readonly Case[] =>
  conformance(hosted(broken, host), { profile, goldens: stored, threads: [1, 2] }).filter(one =>
    isSought(host, broken, one),
  );

export const isCaught = (one: Case): boolean => ['fail', 'error'].includes(one.run().outcome);

/** The sizes of a call, by letter. */
export const sizesOf = (one: Case): string =>
  Object.entries(one.call!().dims)
    .filter(([letter]) => letter !== 't' && letter.length === 1)
    .map(([letter, size]) => `${letter}=${size}`)
    .join(', ');

/** What the page says of a bug; a cell as it stands in Markdown. */
export interface Row {
  readonly name: string;
  readonly says: string;
  readonly from: string;
  readonly exact: string;
  readonly tolerant: string;
  readonly plan: string;
}

const page = (): string => readFileSync(new URL('../../docs/planted-bugs.md', import.meta.url), 'utf8');

/** Its cells on other orders of the sums, by the op. */
export const ordersOfPage = (): ReadonlyMap<string, readonly string[]> =>
  new Map(
    [...page().matchAll(/^\| `([^`]+)` \| (\d.*?) \| (.*?) \| (.*?) \| (\d+) \|$/gm)].map(
      ([, op, ...cells]) => [op, cells],
    ),
  );

/** The rows of docs/planted-bugs.md, by the bug's name. */
export function rowsOfPage(): ReadonlyMap<string, Row> {
  const rows = page().matchAll(/^\| `([^`]+)` \| (.*?) \| (.*?) \| (.*?) \| (.*?) \| (.*?) \|$/gm);
  return new Map(
    [...rows].map(([, name, says, from, exact, tolerant, plan]) => [
      name,
      { name, says: says.replaceAll('\\|', '|'), from, exact, tolerant, plan },
    ]),
  );
}
