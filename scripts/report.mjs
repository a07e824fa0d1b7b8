// What a JSON report of vitest says: how many tests passed, failed and were skipped. A test file that does not load counts as
// one failure, and no report as no tests.
import { readFileSync } from 'node:fs';

export function counts(path) {
  const files = read(path)?.testResults ?? [];
  const tests = files.flatMap(file => file.assertionResults);
  const having = status => tests.filter(test => test.status === status).length;
  const unloaded = files.filter(
    file => file.status === 'failed' && !file.assertionResults.some(test => test.status === 'failed'),
  ).length;
  return {
    passed: having('passed'),
    failed: having('failed') + unloaded,
    skipped: having('pending') + having('skipped'),
  };
}

function read(path) {
  try {
    return JSON.parse(readFileSync(path, 'utf8'));
  } catch {
    return undefined;
  }
}
