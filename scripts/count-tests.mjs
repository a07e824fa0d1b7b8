// Prints `N passed, N failed` from vitest's JSON report. Exits with 1 on any failure, on no tests and on no report.
import { counts } from './report.mjs';

const { passed, failed } = counts(process.argv[2]);
console.log(`${passed} passed, ${failed} failed`);
process.exit(passed > 0 && failed === 0 ? 0 : 1);
