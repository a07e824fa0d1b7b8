/** What docs/write-a-backend.md tells its reader to type works: its kernels are wired in as it says, and judged. */
import { execFileSync, spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { describe, expect, it } from 'vitest';
import type { Backend } from '../../src/backends/backend.ts';
import { execBackend } from '../../src/backends/exec/index.ts';
import { goldens } from '../../src/conformance/goldens.ts';
import { conformance } from '../../src/conformance/suite.ts';
import { ops } from '../../src/ops/index.ts';
import { quamba, workFolder } from '../cli/run.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
const guide = readFileSync(join(root, 'docs/write-a-backend.md'), 'utf8');
const blocks = (language: string) =>
  [...guide.matchAll(new RegExp(`^\`\`\`${language}\\n([\\s\\S]*?)^\`\`\`$`, 'gm'))].map(([, text]) => text);
const here = workFolder();

/** Its cases of `add`, none of which may be anything but a pass. */
function expectAdd(backend: Backend): void {
  const cases = conformance(backend, { goldens: goldens() }).filter(c => c.address.startsWith('op/add/'));
  expect(cases.length).toBeGreaterThan(20);
  const wrong = cases.flatMap(c => {
    const { outcome, reason } = c.run();
    return outcome === 'pass' ? [] : [`${c.address}: ${outcome}, ${reason}`];
  });
  expect(wrong).toEqual([]);
}

describe('the first kernel', () => {
  it('in JavaScript passes', async () => {
    writeFileSync(join(here, 'mine.mjs'), blocks('js')[0]);
    const { default: backend } = await import(pathToFileURL(join(here, 'mine.mjs')).href);
    expectAdd(backend);
  });

  const compiler = ['cc', 'gcc', 'clang'].find(name => spawnSync(name, ['--version']).status === 0);
  it.skipIf(!compiler)('in C passes', () => {
    const example = readFileSync(join(root, 'examples/backend-c/backend.c'), 'utf8');
    const source = example
      .replace(/^\/\* -+ the table -+ \*\/$/m, table => `${blocks('c')[0]}\n${table}`)
      .replace(/^(\} kernels\[\] = \{)$/m, '$1\n    {"add", add},');
    writeFileSync(join(here, 'backend.c'), source);
    const program = join(here, 'backend');
    const flags = ['-std=c11', '-O2', '-Wall', '-Wextra', '-Werror', '-ffp-contract=off'];
    execFileSync(compiler!, [...flags, '-o', program, `${program}.c`, '-lm']);
    const backend = execBackend(program, { timeout: 600_000 });
    try {
      expectAdd(backend);
    } finally {
      backend.dispose();
    }
  });
});

it('names every op in the order to write them', () => {
  const [, order] = /^## In this order\n([\s\S]*?)^## /m.exec(guide) ?? [];
  const named = [...order.matchAll(/^\| \d+ \| (.*?) \|/gm)].flatMap(([, cell]) =>
    [...cell.matchAll(/`([\w-]+)`/g)].map(([, name]) => name),
  );
  expect(named.sort()).toEqual(Object.values(ops).map(op => op.name));
});

it('uses options that exist', async () => {
  const { stdout } = await quamba(here, 'conform', '--help');
  for (const [option] of guide.matchAll(/--(?!fmad|prec|ftz)[a-z]+(?:-[a-z]+)*/g))
    expect(stdout, option).toMatch(new RegExp(`${option}[ ,]`));
});
