/**
 * A report as JUnit XML, which continuous integration reads. A suite is an op or a part of the conformance suite. A case that is
 * unsupported, skipped or expected to fail is `skipped`, with the reason, since JUnit has no other word.
 */

import { escapeXml } from '../../formats/xml.ts';
import type { Outcome } from '../case.ts';
import type { Report, Result } from './report.ts';
import { byRow, conclusion, explain, isExpectedFailure, placeOf, replayOf } from './report.ts';

export function renderJUnit(report: Report): string {
  const { results, milliseconds, backend, profile } = report;
  const suites = byRow(results).map(([row, group]) =>
    suite(
      row,
      seconds(group.reduce((sum, { milliseconds: ms }) => sum + ms, 0)),
      group.map(result => testcase(report, result)),
      report,
    ),
  );
  const { ok, says } = conclusion(report);
  if (!ok && !suites.some(text => /<(?:failure|error) /.test(text))) {
    const judged = { classname: 'quamba.run', name: 'judged', time: '0.000' };
    const nothing = element('testcase', judged, element('error', { message: says, type: 'empty' }));
    suites.push(suite('run', '0.000', [nothing], report));
  }
  const all = suites.join('\n');
  const about = { name: `quamba conform ${backend} ${profile}`, ...tally(all), time: seconds(milliseconds) };
  return `<?xml version="1.0" encoding="UTF-8"?>\n${element('testsuites', about, `\n${all}\n`)}\n`;
}

function suite(name: string, time: string, cases: readonly string[], { environment }: Report): string {
  const properties = Object.entries(environment).map(([key, value]) =>
    element('property', { name: key, value }),
  );
  const body = ['', element('properties', {}, properties.join('')), ...cases, ''].join('\n');
  return element('testsuite', { name, ...tally(body), time }, body);
}

function testcase(report: Report, result: Result): string {
  const { address, outcome, reason = '', milliseconds, xfail } = result;
  const about = { classname: `quamba.${placeOf(address).row}`, name: address, time: seconds(milliseconds) };
  const lines = [result.says, ...explain(result), replayOf(report, result)].join('\n');
  const bad = (name: string, type: string) => element(name, { message: reason, type }, escapeXml(lines));
  const untried = (message: string) => element('skipped', { message });
  const verdicts: Readonly<Record<Outcome, () => string>> = {
    pass: () => '',
    fail: () => bad('failure', 'mismatch'),
    error: () => bad('error', 'error'),
    unsupported: () => untried(`unsupported: ${reason}`),
    skipped: () => untried(`skipped: ${reason}`),
  };
  const known = isExpectedFailure(result);
  return element('testcase', about, known ? untried(`expected to fail: ${xfail}`) : verdicts[outcome]());
}

const tally = (xml: string) => {
  const count = (name: string) => String(xml.split(`<${name} `).length - 1);
  return {
    tests: count('testcase'),
    failures: count('failure'),
    errors: count('error'),
    skipped: count('skipped'),
  };
};

const seconds = (milliseconds: number): string => (milliseconds / 1000).toFixed(3);

function element(name: string, attributes: Readonly<Record<string, string>>, body = ''): string {
  const written = Object.entries(attributes).map(([key, value]) => ` ${key}="${escapeXml(value)}"`);
  const start = `<${name}${written.join('')}`;
  return body === '' ? `${start}/>` : `${start}>${body}</${name}>`;
}
