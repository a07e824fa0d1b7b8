/** How things are called in reports: techniques, verdicts, numbers. */
import type { Order, Technique } from '../techniques.ts';

const NAMES = { baseline: 'neither', clip: 'u clipped', rotate: 'y rotated', both: 'both' } as const;

/** `u clipped, p = 0.9999`. */
export const nameOf = ({ name, p }: Technique): string =>
  p === undefined ? NAMES[name] : `${NAMES[name]}, p = ${probability(p)}`;

/** What the letters above are where they are not the paper's: a sentence, or none. */
export const lettersOf = (architecture?: string): string =>
  architecture === 'mamba2'
    ? 'The paper’s models are Mamba-1. In Mamba-2, u is x, which the scan reads, and y is what out_proj reads: the scan’s output behind gate and norm.'
    : '';

/** 1 as `1.0`, so that it reads as a share. */
export const probability = (p: number): string => (p === 1 ? '1.0' : `${p}`);

/** One order in words, with its numbers. */
export function sentenceOf({ better, worse, difference, error, seedsApart, verdict }: Order): string {
  const by = `${Math.abs(difference).toFixed(5)} ± ${Number.isFinite(error) ? error.toFixed(5) : '?'} nats`;
  const [low, high] = difference > 0 ? [better, worse] : [worse, better];
  const found = `${nameOf(low)} is better than ${nameOf(high)} by ${by}`;
  if (verdict === 'noise') {
    const why = seedsApart
      ? 'which is under twice the standard error'
      : 'and the ranges over calibration seeds overlap';
    return `Not separated from noise: ${found}, ${why}.`;
  }
  return verdict === 'as the paper'
    ? `As the paper orders them: ${found}.`
    : `Other than the paper orders them: ${found}.`;
}

/** `+1.13 %` */
export const signedPercent = (share: number, digits = 2): string =>
  `${share < 0 ? '−' : '+'}${Math.abs(100 * share).toFixed(digits)} %`;

/** Three digits that matter: 0.000123 → `1.23e-4`, 12.345 → `12.3`, 12345 → `12,345`. */
export function number(value: number): string {
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-3 || size >= 1e7))
    return value.toExponential(2).replace('-', '−').replace('e−', 'e-').replace('e+', 'e');
  if (size >= 1000) return Math.round(value).toLocaleString('en-US');
  return `${Number(value.toPrecision(3))}`;
}

/** 29806304 → `29.8 MB`. */
export function sizeWords(bytes: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  let [value, unit] = [bytes, 0];
  while (value >= 1000 && unit < units.length - 1) [value, unit] = [value / 1000, unit + 1];
  return `${unit === 0 ? value : value.toFixed(value < 10 ? 2 : 1)} ${units[unit]}`;
}
