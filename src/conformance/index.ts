/**
 * quamba/conformance: the suite as values, for a runner of your own.
 *
 *   import { conformance } from 'quamba/conformance';
 *   for (const c of conformance(backend)) test(c.address, () => assert.equal(c.run().outcome, 'pass'));
 */
export { Unsupported } from '../backends/backend.ts';
export { broken, brokenBackends } from './broken/index.ts';
export type {
  Case,
  ConformanceOptions,
  Golden,
  Goldens,
  Mismatch,
  ModelUnderTest,
  Outcome,
  Profile,
  Tolerance,
  Vectors,
  Verdict,
} from './case.ts';
export { renderHtml } from './report/html.ts';
export { renderJUnit } from './report/junit.ts';
export { renderMarkdown } from './report/markdown.ts';
export type { About, Report, Result } from './report/report.ts';
export { conclusion, countsOf, renderJson, renderText, runAll } from './report/report.ts';
export { conformance } from './suite.ts';
