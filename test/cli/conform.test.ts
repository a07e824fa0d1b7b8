/** `quamba conform`: every way to name a backend, choose cases and report, and what each exit code means. */
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { brokenBackends } from '../../src/conformance/broken/index.ts';
import type { Counts } from '../../src/conformance/report/report.ts';
import { openFile } from '../../src/formats/disk.ts';
import { readSafetensors } from '../../src/formats/safetensors.ts';
import { ops } from '../../src/ops/index.ts';
import { answer, complaint, printed, quamba, workFolder } from './run.ts';

const here = workFolder();
const inHere = (...path: string[]) => join(here, ...path);
const read = (...path: string[]) => readFileSync(inHere(...path), 'utf8');

/** Right in add; in quantize a step too high where x is 1 or more. */
const MINE = `
const kernels = {
  add({ x, y }, _, { sum }) {
    for (let i = 0; i < sum.data.length; i++) sum.data[i] = x.data[i] + y.data[i];
  },
  quantize({ x }, _, { q }) {
    for (let i = 0; i < q.data.length; i++) q.data[i] = Math.round(x.data[i]) + 1;
  },
  silu() {
    throw new Error('the device is away');
  },
  slice() {
    throw Object.assign(new Error('no slices of this size'), { name: 'Unsupported' });
  },
};
export default { name: 'mine', kernelOf: op => kernels[op.name] };
`;
const conform = (...args: string[]) => quamba(here, 'conform', ...args);
const mine = (...args: string[]) => conform('--backend', './mine.mjs', ...args);
const ADD = ['--filter', 'op/add/golden/'];
const QUANTIZE = ['--filter', 'op/quantize/golden/'];

interface Report extends Counts {
  readonly ok: boolean;
  readonly says: string;
  readonly backend: string;
  readonly profile: string;
  readonly environment: Readonly<Record<string, string>>;
  readonly cases: readonly {
    readonly address: string;
    readonly outcome: string;
    readonly reason?: string;
    readonly xfail?: string;
    readonly replay?: string;
    readonly mismatch?: { readonly expected: number; readonly got: number; readonly formula: string };
  }[];
}
const report = (text: string): Report => JSON.parse(text);

beforeAll(() => {
  writeFileSync(inHere('mine.mjs'), MINE);
  writeFileSync(inHere('empty.mjs'), 'export const nothing = 1;');
  writeFileSync(inHere('torn.mjs'), 'export default {');
  writeFileSync(inHere('throws.mjs'), 'throw 5;');
  writeFileSync(inHere('ends.mjs'), 'process.exit(0);');
  writeFileSync(inHere('waits.mjs'), 'await new Promise(() => {});');
  writeFileSync(
    inHere('ends-later.mjs'),
    'export default { name: "mine", kernelOf: () => () => process.exit(0) };',
  );
});

describe('the outcome', () => {
  it('is 0 where all passed', async () => {
    for (const backend of ['reference', 'wasm']) {
      const text = await answer<Report>(here, 'conform', '--backend', backend, ...ADD);
      expect(text).toMatchObject({
        ok: true,
        backend,
        profile: 'exact',
        failed: 0,
        errors: 0,
        unsupported: 0,
      });
      expect(text.passed).toBe(text.cases.length);
      expect(text.passed).toBeGreaterThan(1);
    }
  });

  it('is 1 where one failed or ended in an error, and each is told from the other', async () => {
    const { code, stdout } = await mine('--json', '--filter', 'op/*/golden/*');
    expect(code).toBe(1);
    const found = report(stdout);
    expect(found.passed).toBeGreaterThan(0);
    expect(found.cases.length).toBe(
      found.passed + found.failed + found.unsupported + found.skipped + found.errors,
    );
    const outcomes = (op: string) =>
      new Set(
        found.cases.flatMap(c =>
          c.address.startsWith(`op/${op}/`) ? [`${c.outcome}: ${c.reason ?? ''}`] : [],
        ),
      );
    expect([...outcomes('add')]).toEqual(['pass: ']);
    expect([...outcomes('silu')]).toEqual(['error: the device is away']);
    expect([...outcomes('slice')]).toEqual(['unsupported: no slices of this size']);
    expect([...outcomes('fwht')]).toEqual(['unsupported: backend mine has no kernel for fwht']);
  });

  it('is 1 where nothing was judged', async () => {
    const nothing = await mine('--filter', 'no such case');
    expect([nothing.code, nothing.stdout]).toEqual([
      1,
      expect.stringContaining('FAILED: there was no case to run'),
    ]);
    const unsupported = await mine('--filter', 'op/fwht/golden/');
    expect([unsupported.code, unsupported.stdout]).toEqual([
      1,
      expect.stringMatching(/FAILED: nothing was judged; \d+ unsupported/),
    ]);
  });

  it.each([
    [['--backend', 'metal'], "backend 'metal' is not known; expected reference, wasm, cuda"],
    [['--backend', './nobody.mjs'], '--backend ./nobody.mjs: cannot be loaded: '],
    [['--backend', './torn.mjs'], '--backend ./torn.mjs: cannot be loaded: '],
    [['--backend', './throws.mjs'], '--backend ./throws.mjs: cannot be loaded: 5'],
    [['--backend', './ends.mjs'], '--backend ./ends.mjs: ended the process before it was judged'],
    [['--backend', './waits.mjs'], '--backend ./waits.mjs: ended the process before it was judged'],
    [
      ['--backend', './ends-later.mjs', '--filter', 'op/add/*'],
      '--backend ./ends-later.mjs: ended the process before it was judged',
    ],
    [
      ['--backend', './empty.mjs'],
      '--backend ./empty.mjs: expected a default export { name, kernelOf(op) }; got none',
    ],
    [['--backend', 'exec:./nobody'], 'exec:./nobody: the program cannot be started (ENOENT)'],
    [['--backend', 'exec:'], 'exec: expected a command'],
    [['--backend', 'broken:nothing'], "planted bug 'nothing' is not known; expected quantize-half-away"],
    [['--profile', 'lenient'], 'Allowed choices are exact, tolerant'],
    [['--threads', '1,0'], "expected thread counts separated by commas, such as 1,2; got '1,0'"],
    [['--seed', 'x'], "expected a whole number; got 'x'"],
    [['--timeout', '0'], "expected a number > 0; got '0'"],
    [
      ['--case', 'op/add/golden/nobody'],
      '--case op/add/golden/nobody: there is no such case; --list shows them',
    ],
    [['--xfails', 'nobody.txt'], '--xfails nobody.txt: no such file or folder'],
    [['--colour'], "unknown option '--colour'"],
  ])('is 2 where nothing could run: %j', async (args, says) => {
    expect(await complaint(2, here, 'conform', ...args)).toContain(says);
  });
});

describe('a failure', () => {
  it('says where, what, by how much, and the command that runs just it', async () => {
    const { stdout } = await mine(...QUANTIZE);
    expect(stdout).toMatch(/^FAIL op\/quantize\/golden\/ties\n {2}\S.*\n/m);
    expect(stdout).toMatch(
      /q has the shape \[\d+, \d+\]; \d+ of \d+ values are wrong, first at \[\d+, \d+\]/,
    );
    expect(stdout).toMatch(/expected -?\d+, got -?\d+: \d+ ulp, off by \d+/);
    expect(stdout).toMatch(/bound 0: the same bits/);
    const [, command] = /^ {2}quamba (conform .*--case op\/quantize\/golden\/ties)$/m.exec(stdout)!;
    const again = await quamba(here, ...command.split(' '), '--json');
    expect(again.code).toBe(1);
    expect(report(again.stdout).cases.map(c => c.address)).toEqual(['op/quantize/golden/ties']);
  });

  it('has its replay in JSON, with the seed', async () => {
    const { stdout } = await mine(...QUANTIZE, '--seed', '5', '--json');
    expect(report(stdout).cases.find(c => c.outcome === 'fail')!.replay).toMatch(
      /^quamba conform --backend \.\/mine\.mjs --profile exact --seed 5 --case op\/quantize\//,
    );
  });

  it('is dumped: inputs, expected, got, bounds, and the verdict', async () => {
    await mine('--case', 'op/quantize/golden/ties', '--dump', 'failing', '--profile', 'tolerant');
    const file = readSafetensors(openFile(inHere('failing/op/quantize/golden/ties.safetensors')));
    expect([...file.tensors.keys()].sort()).toEqual(['bound.q', 'got.q', 'in.scale', 'in.x', 'out.q']);
    expect(file.metadata).toMatchObject({ op: 'quantize', attrs: '{}', address: 'op/quantize/golden/ties' });
    expect([...file.read('got.q').data]).toEqual([...file.read('in.x').data].map(x => Math.round(x) + 1));
    const verdict = JSON.parse(read('failing/op/quantize/golden/ties.json'));
    expect(verdict).toMatchObject({
      backend: './mine.mjs',
      profile: 'tolerant',
      outcome: 'fail',
      mismatch: { tensor: 'q' },
    });
  });

  it('of a kernel that throws is dumped without what it gave', async () => {
    await mine('--case', 'op/silu/golden/basic', '--dump', 'failing');
    const file = readSafetensors(openFile(inHere('failing/op/silu/golden/basic.safetensors')));
    expect([...file.tensors.keys()].sort()).toEqual(['bound.y', 'in.x', 'out.y']);
  });
});

describe('planted bugs', () => {
  it('are listed', async () => {
    const { broken } = await answer<{ broken: { name: string; says: string }[] }>(
      here,
      'conform',
      '--list-broken',
    );
    expect(broken.map(({ name }) => name)).toEqual(brokenBackends.map(({ name }) => name));
    expect(broken.length).toBeGreaterThanOrEqual(20);
    expect((await printed(here, 'conform', '--list-broken')).trim().split('\n').length).toBe(
      broken.length + 1,
    );
  });

  it('fail', async () => {
    const { code, stdout } = await conform('--backend', 'broken:quantize-half-away', ...QUANTIZE);
    expect(code).toBe(1);
    expect(stdout).toContain('FAIL op/quantize/golden/ties');
  });
});

describe('choosing cases', () => {
  const listed = async (...args: string[]) =>
    (
      await answer<{ cases: { address: string; quick: boolean; ops: string[]; says: string }[] }>(
        here,
        'conform',
        '--list',
        ...args,
      )
    ).cases;

  it('lists, with every address once', async () => {
    const all = await listed();
    expect(new Set(all.map(({ address }) => address)).size).toBe(all.length);
    const quick = await listed('--quick');
    expect(quick).toEqual(all.filter(c => c.quick));
    expect(quick.length).toBeGreaterThan(0);
    expect(quick.length).toBeLessThan(all.length);
    const lines = (await printed(here, 'conform', '--list', ...ADD)).trim().split('\n');
    expect(lines[0]).toMatch(/^address +what it shows$/);
    expect(lines[1]).toMatch(/^op\/add\/golden\/\S+ +\S/);
  });

  it('filters by a part, by a pattern, by any of several', async () => {
    const addresses = async (...args: string[]) => (await listed(...args)).map(({ address }) => address);
    const add = await addresses('--filter', 'op/add/');
    const golden = await addresses('--filter', 'op/*/golden/basic');
    expect(add.every(address => address.startsWith('op/add/'))).toBe(true);
    expect(golden.every(address => /^op\/.*\/golden\/basic$/.test(address))).toBe(true);
    expect(await addresses('--filter', 'golden/basic*')).toEqual([]);
    expect(new Set(await addresses('--filter', 'op/add/', '--filter', 'op/*/golden/basic'))).toEqual(
      new Set([...add, ...golden]),
    );
  });
});

describe('cases that are expected to fail', () => {
  it('do not fail the run, and a pass among them is told', async () => {
    const fails = report((await mine('--json', ...QUANTIZE)).stdout).cases.filter(c => c.outcome === 'fail');
    const lines = fails.map(({ address }) => `${address}  the device rounds up`);
    writeFileSync(
      inHere('xfails.txt'),
      ['# of mine.mjs', '', ...lines, 'op/add/golden/basic  was wrong once'].join('\n'),
    );
    const all = ['--xfails', 'xfails.txt', '--filter', 'op/add/golden/', ...QUANTIZE];
    const { code, stdout } = await mine('--json', ...all);
    expect(code).toBe(0);
    expect(report(stdout)).toMatchObject({ ok: true, failed: 0, expectedFailures: fails.length });
    const text = (await mine(...all)).stdout;
    expect(text).toContain('passed, though expected to fail (was wrong once): op/add/golden/basic');
    expect(text).toContain(`failed as expected (the device rounds up): ${fails[0].address}`);
    expect(text).not.toContain('FAIL ');
  });

  it.each([
    ['op/add/golden/nobody  why', 'wrong.txt:1: there is no case op/add/golden/nobody'],
    ['\nop/add/golden/basic', 'wrong.txt:2: op/add/golden/basic expected a reason after the address'],
  ])('are checked: %j', async (text, says) => {
    writeFileSync(inHere('wrong.txt'), text);
    expect(await complaint(2, here, 'conform', '--xfails', 'wrong.txt')).toBe(says);
  });
});

describe('files', () => {
  it('every form of the report at once', async () => {
    const { stdout } = await mine(
      '--json',
      '--filter',
      'golden/*',
      '--filter',
      'op/*/golden/*',
      '--junit',
      'r.xml',
      '--html',
      'r.html',
      '--md',
      'r.md',
    );
    const { says, failed, errors, cases } = report(stdout);
    expect(read('r.xml')).toContain(`tests="${cases.length}" failures="${failed}" errors="${errors}"`);
    expect(read('r.html')).toContain(says);
    expect(read('r.md')).toContain(`**${says}**`);
  });

  it('in a folder that is not there are one sentence', async () => {
    const { code, stderr } = await mine(...ADD, '--html', 'nowhere/r.html');
    expect([code, stderr.split('\n').at(-2)]).toEqual([1, 'quamba: nowhere/r.html: no such file or folder']);
  });

  it('emits every call, as the reference computes it', async () => {
    const emitted = await answer<{ cases: number }>(
      here,
      'conform',
      '--emit',
      'vectors',
      '--filter',
      'op/rms-norm/*',
    );
    const index = JSON.parse(read('vectors/index.json'));
    expect(index).toMatchObject({ suite: expect.any(String), goldens: expect.any(String), seed: 1 });
    expect(index.cases.length).toBe(emitted.cases);
    expect(emitted.cases).toBeGreaterThan(10);
    for (const { file, attrs, inputs, outputs } of index.cases) {
      const tensors = readSafetensors(openFile(inHere('vectors', file)), { finite: false });
      const given = Object.fromEntries(inputs.map((name: string) => [name, tensors.read(`in.${name}`)]));
      const { y } = ops.rmsNorm(given as Parameters<typeof ops.rmsNorm>[0], attrs);
      expect([...tensors.read('out.y').data]).toEqual([...y.data]);
      expect(tensors.read('bound.y').shape).toEqual(y.shape);
      expect(outputs.y.formula).toBeTypeOf('string');
    }
    expect(readdirSync(here).filter(name => name.endsWith('.tmp'))).toEqual([]);
  });

  it('emits into no folder that holds something', async () => {
    expect(await complaint(2, here, 'conform', '--emit', '.')).toBe(
      '--emit .: expected a folder that is empty or not there',
    );
    expect(existsSync(inHere('index.json'))).toBe(false);
  });
});

it('the environment tells engine, platform, suite and goldens, and of wasm the kernels', async () => {
  const { environment } = await answer<Report>(here, 'conform', ...ADD);
  const always = ['suite', 'goldens', 'node', 'engine', 'platform', 'cpu'];
  expect(Object.keys(environment)).toEqual([...always, 'kernels']);
  const { environment: other } = await answer<Report>(here, 'conform', ...ADD, '--backend', 'reference');
  expect(Object.keys(other)).toEqual(always);
  expect(environment.node).toBe(process.version);
  expect(environment.goldens).toMatch(/^[0-9a-f]{16}$/);
});
