// Prints `N passed, N failed` from vitest's JSON report. A test file that does not load counts as one failure.
// Exits with 1 on any failure, on no tests and on no report.
import { readFileSync } from 'node:fs';

const files = read(process.argv[2])?.testResults ?? [];
const tests = files.flatMap(file => file.assertionResults);
const passed = tests.filter(test => test.status === 'passed').length;
const failed =
  tests.filter(test => test.status === 'failed').length +
  files.filter(
    file => file.status === 'failed' && !file.assertionResults.some(test => test.status === 'failed'),
  ).length;

console.log(`${passed} passed, ${failed} failed`);
process.exit(passed > 0 && failed === 0 ? 0 : 1);

function read(path) {
  try {
    return JSON.parse(readFileSync(path, 'utf8'));
  } catch {
    return undefined;
  }
}
