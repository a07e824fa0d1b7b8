/** `quamba pull`: a model of the Hugging Face hub into the cache. */
import { isRepoName } from '../hub/cache.ts';
import { pull } from '../hub/pull.ts';
import { command, type OptionsOf, option } from './command.ts';
import { jsonOption } from './options.ts';
import { printAs, progressLines, tell, UsageError } from './terminal.ts';

const OPTIONS = [
  option('--revision <name>', 'a branch, a tag or a commit', String, 'main'),
  jsonOption,
] as const;

export const pullCommand = command(
  'pull',
  'Fetches a model from the Hugging Face hub and prints its folder; --model then takes its name.',
  OPTIONS,
  `
Only config.json, the tokenizer and the weights are fetched (safetensors, or else pytorch_model.bin), into the cache that
Hugging Face's Python library uses too. A broken download goes on where it broke; sums are checked.

HF_HOME or HF_HUB_CACHE say where the cache is, HF_ENDPOINT names a mirror, HF_TOKEN opens private and gated models.
Node follows HTTPS_PROXY from 22.21 or 24 on, with NODE_USE_ENV_PROXY=1.

Examples:
  quamba pull state-spaces/mamba-130m-hf
  quamba generate --model state-spaces/mamba-130m-hf --prompt "It was a dark night"`,
)
  .argument('<model>', 'owner/name, such as state-spaces/mamba-130m-hf')
  .action(pullModel);

async function pullModel(model: string, { revision, json }: OptionsOf<typeof OPTIONS>): Promise<void> {
  if (!isRepoName(model)) throw new UsageError(`pull: model expected owner/name; got '${model}'`);
  const progress = progressLines(file => `${file}, MB:`);
  const mega = (bytes: number) => Math.ceil(bytes / 1e5) / 10;
  const onProgress = (file: string, done: number, total: number) => progress(file, mega(done), mega(total));
  const pulled = await pull(model, { revision, onProgress });
  printAs(json, pulled, () => pulled.folder);
  if (!pulled.files.some(({ name }) => name === 'tokenizer.json') && !json)
    tell(
      `${model}: has no tokenizer.json, so it takes --tokens; the state-spaces models have that of EleutherAI/gpt-neox-20b`,
    );
}
