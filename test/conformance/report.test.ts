/** What a report says, and that none of its forms takes for a pass what is none. */
import { describe, expect, it } from 'vitest';
import type { Case, Mismatch, Verdict } from '../../src/conformance/case.ts';
import { renderHtml } from '../../src/conformance/report/html.ts';
import { renderJUnit } from '../../src/conformance/report/junit.ts';
import { renderMarkdown } from '../../src/conformance/report/markdown.ts';
import {
  conclusion,
  countsOf,
  explain,
  placeOf,
  type Report,
  type Result,
  renderJson,
  renderText,
  runAll,
  shellWord,
} from '../../src/conformance/report/report.ts';

const mismatch: Mismatch = {
  tensor: 'y',
  shape: [2, 3],
  index: [1, 0],
  expected: 1.5,
  got: Number.NaN,
  ulp: Number.POSITIVE_INFINITY,
  bound: 1e-7,
  formula: '2 (i + 2) u Σ|x w| <& more>',
  wrong: 4,
  of: 6,
};
const pass: Partial<Verdict> = { outcome: 'pass', worst: 0.25 };
const fail: Partial<Verdict> = {
  outcome: 'fail',
  reason: 'y[1, 0] is NaN',
  mismatch,
  worst: Number.POSITIVE_INFINITY,
};
const error: Partial<Verdict> = { outcome: 'error', reason: 'the device is "away" <1>\u0000' };
const unsupported: Partial<Verdict> = { outcome: 'unsupported', reason: 'no kernel for add' };
const skipped: Partial<Verdict> = { outcome: 'skipped', reason: 'one thread only' };

const caseOf = (address: string, verdict: Partial<Verdict>): Case => ({
  address,
  says: `what ${address} shows`,
  ops: [],
  quick: true,
  run: () => ({ outcome: 'pass', milliseconds: 1, ...verdict }),
});
const reportOf = (
  verdicts: Readonly<Record<string, Partial<Verdict>>>,
  xfails?: ReadonlyMap<string, string>,
): Report => ({
  backend: 'exec:./a b',
  profile: 'tolerant',
  replay: `quamba conform --backend 'exec:./a b' --profile tolerant`,
  environment: { suite: '0.1.0', cpu: 'A <fast> one' },
  ...runAll(
    Object.entries(verdicts).map(([address, verdict]) => caseOf(address, verdict)),
    undefined,
    xfails,
  ),
});
const forms = { renderText, renderJson, renderHtml, renderJUnit, renderMarkdown };

describe('a run', () => {
  it('tells of each case as it comes', () => {
    const seen: [string, number][] = [];
    runAll([caseOf('a/b', pass), caseOf('a/c', fail)], ({ address }, done) => seen.push([address, done]));
    expect(seen).toEqual([
      ['a/b', 1],
      ['a/c', 2],
    ]);
  });

  it('counts five outcomes apart', () => {
    expect(countsOf(reportOf({ a: pass, b: fail, c: error, d: unsupported, e: skipped, f: pass }))).toEqual({
      passed: 2,
      failed: 1,
      unsupported: 1,
      skipped: 1,
      errors: 1,
      expectedFailures: 0,
    });
  });

  it.each<readonly [what: string, verdicts: Record<string, Partial<Verdict>>, ok: boolean, says: string]>([
    ['empty', {}, false, 'FAILED: there was no case to run'],
    [
      'all unsupported',
      { a: unsupported, b: skipped },
      false,
      'FAILED: nothing was judged; 1 unsupported, 1 skipped',
    ],
    ['one pass', { a: pass, b: unsupported }, true, 'PASSED: 1 passed; 1 unsupported'],
    ['one fail', { a: pass, b: fail }, false, 'FAILED: 1 failed, 1 passed'],
    ['one error', { a: pass, b: error }, false, 'FAILED: 1 ended in an error, 1 passed'],
    ['a pass by NaN', { a: { outcome: 'pass', worst: Number.NaN } }, false, 'FAILED: 1 failed'],
  ])('%s', (_, verdicts, ok, says) => {
    const report = reportOf(verdicts);
    expect(conclusion(report)).toEqual({ ok, says });
    for (const [name, render] of Object.entries(forms))
      if (name !== 'renderJUnit') expect(render(report), name).toContain(says);
    expect(/<(?:failure|error) /.test(renderJUnit(report)), 'JUnit').toBe(!ok);
  });

  it('with expected failures is a success, whatever they are', () => {
    const report = reportOf(
      { a: fail, b: error, c: pass },
      new Map([
        ['a', 'known'],
        ['b', 'known'],
        ['c', 'old'],
      ]),
    );
    expect(conclusion(report)).toEqual({ ok: true, says: 'PASSED: 1 passed; 2 expected to fail' });
    expect(countsOf(report)).toMatchObject({ passed: 1, failed: 0, errors: 0, expectedFailures: 2 });
    for (const [name, render] of Object.entries(forms)) expect(render(report), name).toContain('known');
    expect(renderJUnit(report)).not.toMatch(/<failure|<error/);
    expect(renderText(report)).toContain('passed, though expected to fail (old): c');
  });
});

describe('a failure', () => {
  const result = (verdict: Partial<Verdict>) =>
    ({ ...caseOf('op/add/edge/x', verdict).run(), address: 'op/add/edge/x', says: '' }) as Result;

  it('on a value has all that there is to know', () => {
    expect(explain(result(fail))).toEqual([
      'y has the shape [2, 3]; 4 of 6 values are wrong, first at [1, 0]',
      'expected 1.5, got NaN: no distance',
      'bound 1e-7: 2 (i + 2) u Σ|x w| <& more>',
    ]);
    const near = { ...mismatch, got: -0, expected: 0, ulp: 1, bound: 0 };
    expect(explain(result({ ...fail, mismatch: near }))[1]).toBe('expected 0, got -0: 1 ulp, off by 0');
  });

  it('on a whole output has no first value', () => {
    const shape = {
      ...mismatch,
      index: [],
      expected: Number.NaN,
      formula: 'expected f32[2, 3]; got no output of this name',
    };
    expect(explain(result({ ...fail, mismatch: shape }))).toEqual([
      'y: expected f32[2, 3]; got no output of this name',
    ]);
    const bias = {
      ...mismatch,
      index: [],
      expected: 0,
      got: 3e-9,
      bound: 1e-9,
      formula: 'the mean of the signed errors',
    };
    expect(explain(result({ ...fail, mismatch: bias }))).toEqual([
      'y of the shape [2, 3] is off on the whole by 3e-9',
      'bound 1e-9: the mean of the signed errors',
    ]);
  });

  it.each(Object.entries(forms))('is in %s, with the command that replays it', (name, render) => {
    const text = render(reportOf({ 'op/add/edge/x': fail })).replaceAll('&#39;', "'");
    expect(text, name).toContain('op/add/edge/x');
    expect(text, name).toContain('what op/add/edge/x shows');
    expect(text, name).toContain(`--backend 'exec:./a b' --profile tolerant --case op/add/edge/x`);
    expect(text, name).toMatch(/2 \(i \+ 2\) u Σ/);
  });
});

it('JSON keeps what JSON does not have', () => {
  const { cases } = JSON.parse(
    renderJson(reportOf({ a: { ...fail, mismatch: { ...mismatch, expected: -0 } } })),
  );
  expect(cases[0].mismatch).toMatchObject({ expected: '-0', got: 'NaN', ulp: 'Infinity' });
});

describe('JUnit', () => {
  const xml = renderJUnit(
    reportOf({
      'op/add/edge/x': fail,
      'op/add/edge/y': error,
      'op/fwht/golden/z': unsupported,
      'state/fork': skipped,
    }),
  );
  it('groups by op and part, and counts', () => {
    expect(xml).toContain(
      '<testsuites name="quamba conform exec:./a b tolerant" tests="4" failures="1" errors="1" skipped="2"',
    );
    expect(xml).toContain('<testsuite name="add" tests="2" failures="1" errors="1" skipped="0"');
    expect(xml).toContain('<skipped message="unsupported: no kernel for add"/>');
    expect(xml).toContain('<testcase classname="quamba.state" name="state/fork"');
  });
  it('is well formed: what is markup is escaped, what XML cannot hold is gone', () => {
    expect(xml).toContain('the device is &quot;away&quot; &lt;1&gt;?');
    const tags = [...xml.replace(/<\?.*?\?>/, '').matchAll(/<(\/?)([a-z]+)(?: [a-z]+="[^"<]*")*(\/?)>/g)];
    const open: string[] = [];
    for (const [, close, name, empty] of tags)
      if (close) expect(open.pop()).toBe(name);
      else if (!empty) open.push(name);
    expect(open).toEqual([]);
    expect(xml.replace(/<[^<>]*>/g, '')).not.toMatch(/[<>]/);
  });
});

describe('the page', () => {
  const page = renderHtml(
    reportOf({ 'op/add/edge/x': fail, 'op/add/golden/y': pass, 'plan/quamba/toy/f': unsupported }),
  );
  it('is whole in itself and escapes', () => {
    expect(page).not.toMatch(/<script|<link|https?:/);
    expect(page).toContain('A &lt;fast&gt; one');
    expect(page).toContain('&lt;&amp; more&gt;');
  });
  it('has a cell for each op and family, with the worst error', () => {
    expect(page).toMatch(
      /<th scope="row">add<\/th><td class="fail".*?✗ 1.*?<td class="pass".*?✓ 1 <small class="by">0\.25/,
    );
    expect(page).toContain('<th scope="row">plan/quamba</th>');
  });
});

it.each([
  ['op/fwht/golden/basic', 'fwht', 'golden', true],
  ['hygiene/fwht/inputs', 'fwht', 'hygiene', true],
  ['plan/quamba/toy/feed-64', 'plan/quamba', 'toy', false],
  ['state/fork', 'state', 'fork', false],
])('%s is in the row %s', (address, row, family, isOp) => {
  expect(placeOf(address)).toEqual({ row, family, isOp });
});

it('words of a shell', () => {
  expect(['wasm', './a.mjs', "exec:it's", 'l=1,o=7'].map(shellWord)).toEqual([
    'wasm',
    './a.mjs',
    `'exec:it'\\''s'`,
    'l=1,o=7',
  ]);
});
