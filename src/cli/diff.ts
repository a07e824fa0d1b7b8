/** Line diff by the longest common subsequence: `  ` both, `- ` only in a, `+ ` only in b. */
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
  let i = 0;
  let j = 0;
  while (i < a.length || j < b.length) {
    if (i < a.length && j < b.length && same(i, j)) {
      lines.push(`  ${a[i++]}`);
      j++;
    } else if (j === b.length || (i < a.length && longest[(i + 1) * width + j] >= longest[i * width + j + 1]))
      lines.push(`- ${a[i++]}`);
    else lines.push(`+ ${b[j++]}`);
  }
  return lines;
}
