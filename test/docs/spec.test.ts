/** docs/spec says what the code says: its pages are made anew and compared, and what it calls numerics is compiled. */
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, it } from 'vitest';
import { backends } from '../../src/backends/index.ts';
import { goldens } from '../../src/conformance/goldens.ts';
import { tolerances } from '../../src/conformance/judge/bounds.ts';
import { conformance } from '../../src/conformance/suite.ts';
import { planOfToy, toys } from '../../src/conformance/toy.ts';
import { blockRoles, blockSites, roles, sites } from '../../src/model/index.ts';
import { bind } from '../../src/op.ts';
import { factor } from '../../src/ops/hadamard.ts';
import { ops } from '../../src/ops/index.ts';
import { patterns } from '../../src/plan/fuse.ts';
import { recipes } from '../../src/quant/recipes.ts';
import { siteAction, weightScheme } from '../../src/quant/scheme.ts';
import { opsOf } from '../../src/run.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
const read = (path: string) => readFileSync(join(root, path), 'utf8');
const script = (name: string) => import(new URL(`../../scripts/${name}`, import.meta.url).href);

const { specPages } = (await script('spec-pages.mjs')) as {
  specPages(library: object, read: (path: string) => string): ReadonlyMap<string, string>;
};
const library = {
  ...{ ops, bind, factor, recipes, siteAction, weightScheme, sites, blockSites, roles, blockRoles },
  ...{ patterns, backends, goldens: goldens(), conformance, tolerances, toys, planOfToy, opsOf },
};
const pages = specPages(library, read);

describe('docs/spec', () => {
  it('has one page for each op, and no other', () =>
    expect(readdirSync(join(root, 'docs/spec')).sort()).toEqual([...pages.keys()].sort()));

  it.each([...pages])('%s is up to date (npm run spec)', (name, text) =>
    expect(read(`docs/spec/${name}`)).toBe(text),
  );

  it.each([...pages])('%s links to files that exist', (_, text) => {
    const links = [...text.matchAll(/\]\((?!https?:|#)([^)#]+)[^)]*\)/g)].map(([, path]) => path);
    expect(links.filter(path => !existsSync(join(root, 'docs/spec', path)))).toEqual([]);
  });
});

const compiler = ['cc', 'gcc', 'clang'].find(name => spawnSync(name, ['--version']).status === 0);

/** Reads float32 arguments, writes the results of the function that its argument names. */
const MAIN = `
#include <stdio.h>
#include <string.h>
int main(int argc, char **argv) {
  const char *names[] = {"exp", "exp2", "log1p", "softplus", "silu"};
  double (*functions[])(double) = {q_exp, q_exp2, q_log1p, q_softplus, q_silu};
  float x;
  for (int i = 0; i < 5; i++)
    if (argc == 2 && strcmp(names[i], argv[1]) == 0)
      while (fread(&x, 4, 1, stdin) == 1) {
        x = functions[i](x);
        fwrite(&x, 4, 1, stdout);
      }
  return 0;
}
`;

describe.skipIf(!compiler)('the C of numerics.md', async () => {
  const { everyExponent, fingerprint } = (await script('numerics-oracle.mjs')) as {
    everyExponent(count: number): Iterable<number>;
    fingerprint(ours: (x: number) => number): string;
  };
  const folder = mkdtempSync(join(tmpdir(), 'quamba-'));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  const [, listing] = /```c\n([\s\S]*?)```/.exec(pages.get('numerics.md')!)!;
  const program = join(folder, 'numerics');
  writeFileSync(`${program}.c`, listing + MAIN);
  const flags = ['-std=c99', '-O2', '-Wall', '-Wextra', '-Werror', '-ffp-contract=off'];
  execFileSync(compiler!, [...flags, '-o', program, `${program}.c`, '-lm']);

  it.each(['exp', 'exp2', 'log1p', 'softplus', 'silu'])(
    '%s has the fingerprint of docs/numerics.md',
    name => {
      const input = Buffer.from(Float32Array.from(everyExponent(200)).buffer);
      const output = execFileSync(program, [name], { input, maxBuffer: 2 * input.length });
      const results = new Float32Array(new Uint8Array(output).buffer);
      let i = 0;
      const [, expected] = new RegExp(`^\\| ${name} \\| \`(\\w+)\` \\|$`, 'm').exec(
        read('docs/numerics.md'),
      )!;
      expect(fingerprint(() => results[i++])).toBe(expected);
    },
  );
});
