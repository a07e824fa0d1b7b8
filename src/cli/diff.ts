/**
 * Diff by the longest common subsequence: `  ` both, `- ` only in a, `+ ` only in b. An entry may have several lines; each gets the mark.
 */
export function diffLines(a: readonly string[], b: readonly string[]): string[] {
  const squeeze = (line: string) => line.replace(/ +/g, ' '); // column widths differ between two tables
  const same = (i: number, j: number) => squeeze(a[i]) === squeeze(b[j]);
  const width = b.length + 1;
  const longest = new Uint32Array((a.length + 1) * width); // of a[i…] and b[j…]
  for (let i = a.length - 1; i >= 0; i--)
    for (let j = b.length - 1; j >= 0; j--)
      longest[i * width + j] = same(i, j)
        ? longest[(i + 1) * width + j + 1] + 1
        : Math.max(longest[(i + 1) * width + j], longest[i * width + j + 1]);
  const lines: string[] = [];
  const mark = (sign: string, entry: string) => lines.push(entry.replace(/^/gm, sign));
  let i = 0;
  let j = 0;
  while (i < a.length || j < b.length) {
    if (i < a.length && j < b.length && same(i, j)) {
      mark('  ', a[i++]);
      j++;
    } else if (j === b.length || (i < a.length && longest[(i + 1) * width + j] >= longest[i * width + j + 1]))
      mark('- ', a[i++]);
    else mark('+ ', b[j++]);
  }
  return lines;
}
