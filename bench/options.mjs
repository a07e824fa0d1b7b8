/** Reading the options of the programs in this folder: --help, whole numbers, and one sentence for what is wrong. */
import { parseArgs } from 'node:util';

/**
 * `name` begins every complaint; --json and --help are there for all.
 *
 * @template {import('node:util').ParseArgsConfig['options'] & {}} T
 * @param {string} name
 * @param {string} help
 * @param {T} options
 */
export function readOptions(name, help, options) {
  const fail = sentence => {
    console.error(`${name}: ${sentence}\n(--help shows the options)`);
    process.exit(2);
  };
  const json = { type: 'boolean', default: false };
  let values;
  try {
    ({ values } = parseArgs({ options: { ...options, json, help: json } }));
  } catch (error) {
    fail(error.message);
  }
  if (values.help) {
    console.log(help);
    process.exit(0);
  }
  const whole = (key, text) =>
    /^[1-9]\d*$/.test(text) ? Number(text) : fail(`--${key} expected a whole number >= 1; got '${text}'`);
  return {
    values,
    fail,
    count: key => whole(key, values[key]),
    /** Several, separated by commas. */
    counts: key => values[key].split(',').map(text => whole(key, text)),
  };
}
