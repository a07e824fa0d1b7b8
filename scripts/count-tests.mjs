// Prints `N passed, N failed` from vitest's JSON reports. Exits with 1 on any failure, and where a report is missing or has no tests.
import { counts } from './report.mjs';

const reports = process.argv.slice(2).map(counts);
const sum = what => reports.reduce((total, report) => total + report[what], 0);
const isEmpty = ({ passed, failed, skipped }) => passed + failed + skipped === 0;
console.log(`${sum('passed')} passed, ${sum('failed')} failed`);
process.exit(sum('passed') > 0 && sum('failed') === 0 && !reports.some(isEmpty) ? 0 : 1);
