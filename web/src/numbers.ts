/** How numbers and pieces of text are written. */

/** Three significant digits, a minus that is one, and no exponent where a reader need not have one. */
export function number(value: number, digits = 3): string {
  const size = Math.abs(value);
  if (size !== 0 && size < 1e-4) {
    const [mantissa, power] = value.toExponential(1).split('e-');
    return signed(`${mantissa}·10⁻${superscript(power)}`);
  }
  return signed(
    size >= 10 ** digits ? Math.round(value).toLocaleString('en') : `${Number(value.toPrecision(digits))}`,
  );
}

export const signed = (text: string): string => text.replace('-', '−');
const superscript = (digits: string): string => [...digits].map(d => '⁰¹²³⁴⁵⁶⁷⁸⁹'[Number(d)]).join('');

export const percent = (share: number, digits = 2): string => `${number(100 * share, digits)} %`;

/** A signal-to-noise ratio; null where there is no noise. */
export const decibels = (snr: number | null): string => (snr === null ? 'exact' : `${snr.toFixed(1)} dB`);

export const megabytes = (bytes: number): string => (bytes / 1e6).toFixed(1);

/** A token's text in a sentence. */
export const quoted = (text: string): string =>
  text.trim()
    ? `“${text.trim()}”`
    : text.includes('\n')
      ? 'a new line'
      : text
        ? 'a space'
        : 'a part of a character';
