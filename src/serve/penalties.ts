/** The penalties of OpenAI's protocol, and its bias, as a processor of logits. */
import type { GenerateOptions } from '../text/generate.ts';
import type { Penalties } from './protocol.ts';

/**
 * logit[j] − count[j] · frequency − [count[j] > 0] · presence + bias[j], where count[j] says how often token j was written in the answer.
 *
 * Source: OpenAI's API reference, "Frequency and presence penalties".
 *
 * @returns undefined where nothing changes
 */
export function penalized(
  { frequency, presence, bias }: Penalties,
  promptTokens: number,
): GenerateOptions['logitsProcessor'] {
  const biases = Object.entries(bias);
  if (frequency === 0 && presence === 0 && biases.length === 0) return undefined;
  return (logits, tokens) => {
    for (const [id, value] of biases) if (Number(id) < logits.length) logits[Number(id)] += value;
    const written = tokens.slice(promptTokens);
    for (const id of written) logits[id] -= frequency;
    for (const id of new Set(written)) logits[id] -= presence;
    return logits;
  };
}
