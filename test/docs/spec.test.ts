/**
 * docs/spec is what the code says: its pages are made here and compared (`npm run spec` writes them), but for numerics.md, which is
 * written by hand: its C is compiled, and has the bits of src/ops/numerics.ts.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, it } from 'vitest';
import { reference } from '../../src/backends/reference.ts';
import { goldens } from '../../src/conformance/goldens.ts';
import { conformance } from '../../src/conformance/suite.ts';
import { ops } from '../../src/ops/index.ts';
import { everyExponent, fingerprint } from '../ops/numerics-oracle.ts';
import { linksIn } from './markdown.ts';
import { indexPage } from './spec/index-page.ts';
import { opPage } from './spec/op-page.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
const folder = join(root, 'docs/spec');
const read = (path: string) => readFileSync(join(root, path), 'utf8');

const stored = goldens();
const cases = conformance(reference, { goldens: stored });
const pages = [
  ['index.md', indexPage(read)],
  ...Object.entries(ops).map(([key, op]) => [
    `${op.name}.md`,
    opPage(key, op, read(`src/ops/${op.name}.ts`), stored, cases),
  ]),
];
const numerics = read('docs/spec/numerics.md');

describe('docs/spec', () => {
  it('has one page for each op, and no other', () =>
    expect(readdirSync(folder).sort()).toEqual([...pages.map(([name]) => name), 'numerics.md'].sort()));

  it.each(pages)('%s is up to date (npm run spec)', (name, text) =>
    expect(text).toMatchFileSnapshot(join(folder, name)),
  );

  it.each([...pages, ['numerics.md', numerics]])('%s links to files that exist', (_, text) =>
    expect(linksIn(text).filter(path => !existsSync(join(folder, path)))).toEqual([]),
  );
});

const [, listing] = /```c\n([\s\S]*?)```/.exec(numerics)!;

it('the constants of numerics.md have the bits that stand beside them, and are those of its C', () => {
  const rows = [...numerics.matchAll(/^\| `([A-Z\d_]+)(?:\[\d+\])?` \| (\S+) \| `([\da-f]{8})` \|/gm)];
  const bits = new DataView(new ArrayBuffer(4));
  const constants = new Map<string, number[]>();
  for (const [, name, decimal, hex] of rows) {
    bits.setFloat32(0, Number(decimal));
    expect(bits.getUint32(0).toString(16).padStart(8, '0'), name).toBe(hex);
    constants.set(name, [...(constants.get(name) ?? []), Number(decimal)]);
  }
  const inC = [...listing.matchAll(/^static const double ([A-Z\d_]+)(?:\[\])? = \{?(.*?)\}?;$/gm)];
  expect([...constants]).toEqual(
    inC.map(([, name, values]) => [name, values.split(', ').map(Number.parseFloat)]),
  );
  expect(rows.length).toBeGreaterThan(10);
});

const compiler = ['cc', 'gcc', 'clang'].find(name => spawnSync(name, ['--version']).status === 0);

/** Reads float32 arguments, writes the results of the function that its argument names. */
const MAIN = `
#include <stdio.h>
#include <string.h>
int main(int argc, char **argv) {
  const char *names[] = {"exp", "exp2", "log1p", "softplus", "silu", "sin", "cos"};
  double (*functions[])(double) = {q_exp, q_exp2, q_log1p, q_softplus, q_silu, q_sin, q_cos};
  float x;
  for (int i = 0; i < 7; i++)
    if (argc == 2 && strcmp(names[i], argv[1]) == 0)
      while (fread(&x, 4, 1, stdin) == 1) {
        x = functions[i](x);
        fwrite(&x, 4, 1, stdout);
      }
  return 0;
}
`;

describe.skipIf(!compiler)('the C of numerics.md', () => {
  const work = mkdtempSync(join(tmpdir(), 'quamba-'));
  afterAll(() => rmSync(work, { recursive: true, force: true }));
  const program = join(work, 'numerics');
  writeFileSync(`${program}.c`, listing + MAIN);
  const flags = ['-std=c99', '-O2', '-Wall', '-Wextra', '-Werror', '-ffp-contract=off'];
  execFileSync(compiler!, [...flags, '-o', program, `${program}.c`, '-lm']);

  it.each(['exp', 'exp2', 'log1p', 'softplus', 'silu', 'sin', 'cos'])(
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
