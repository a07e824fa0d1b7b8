/** What lies where a file should be when it was never fetched: a download that was none looks like a file until it is read. */

const STAND_INS: readonly (readonly [RegExp, string])[] = [
  [/^version https:\/\/git-lfs/, 'is the pointer of Git LFS, not the file itself; fetch it by git lfs pull'],
  [/^\s*<(?:!doctype html|html|head|body)\b/i, 'is a page of HTML, not the file itself; fetch it anew'],
  [/^\s*<(?:\?xml|error)\b/i, 'is XML, as servers write their errors, not the file itself; fetch it anew'],
];

/** Bytes of a file's beginning that say enough. */
export const BEGINNING = 256;

/** What a file that cannot be read is instead, by its beginning; undefined where that says nothing. */
export function standIn(beginning: string | Uint8Array): string | undefined {
  const text =
    typeof beginning === 'string'
      ? beginning
      : new TextDecoder('latin1').decode(beginning.subarray(0, BEGINNING));
  const [, what] = STAND_INS.find(([sign]) => sign.test(text.slice(0, BEGINNING))) ?? [];
  return what;
}
