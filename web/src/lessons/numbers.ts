/** How values spread, how far two tensors are apart, and how both are written. */
export interface Spread {
  /** The largest |x|. */
  readonly max: number;
  readonly rms: number;
  /** E (x − μ)⁴ / σ⁴: 3 for a normal distribution. */
  readonly kurtosis: number;
}

export function spreadOf(x: Float32Array): Spread {
  let [sum, max] = [0, 0];
  for (const v of x) {
    sum += v;
    max = Math.max(max, Math.abs(v));
  }
  const mean = sum / x.length;
  let [second, fourth, squares] = [0, 0, 0];
  for (const v of x) {
    const d = (v - mean) ** 2;
    second += d;
    fourth += d * d;
    squares += v * v;
  }
  return { max, rms: Math.sqrt(squares / x.length), kurtosis: (fourth * x.length) / second ** 2 };
}

/** ‖got − wanted‖ / ‖wanted‖, over the indices that `counts` lets through. */
export function relativeError(
  got: Float32Array,
  wanted: Float32Array,
  counts: (i: number) => boolean = () => true,
): number {
  let [error, size] = [0, 0];
  for (let i = 0; i < wanted.length; i++) {
    if (!counts(i)) continue;
    error += (got[i] - wanted[i]) ** 2;
    size += wanted[i] ** 2;
  }
  return Math.sqrt(error / size);
}

/** Three significant digits, a minus that is one, and no exponent where a reader need not have one. */
export function number(value: number, digits = 3): string {
  const size = Math.abs(value);
  const text =
    value === 0
      ? '0'
      : size < 1e-4
        ? value
            .toExponential(1)
            .replace('e-', '·10⁻')
            .replace(/\d+$/, power => superscript(power))
        : size >= 10 ** digits
          ? Math.round(value).toLocaleString('en')
          : `${Number(value.toPrecision(digits))}`;
  return text.replace('-', '−');
}

const superscript = (digits: string) => [...digits].map(d => '⁰¹²³⁴⁵⁶⁷⁸⁹'[Number(d)]).join('');

export const percent = (share: number, digits = 2): string => `${number(100 * share, digits)} %`;
