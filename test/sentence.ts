/** What a refusal is: one sentence of this program's own, fit for a terminal. */

/** Words of an engine, not of this program. */
const OWN =
  /Cannot (read|set|convert|mix|create|destructure)|is not (a function|iterable|defined|a constructor|an object)|Invalid (array|typed|count|string)|allocation|Maximum call|out of bounds|unreachable|of (undefined|null)|\[object|BigInt|The "|ERR_|must be of type/;

/** Why a text is no such sentence; '' where it is one. */
export function sentenceFault(text: string): string {
  const [word] = OWN.exec(text.replace(/"[^"]*"/g, '""')) ?? [];
  if (word) return `an engine's words: ${word}`;
  if (/[\p{Cc}\p{Cf}]/u.test(text)) return 'a control character';
  return text.length < 1000 ? '' : `${text.length} characters`;
}
