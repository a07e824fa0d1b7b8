/** The fuzz as a program, which scripts/fuzz.mjs starts under each Node: it gets lists of seeds, and answers with their verdicts. */
import { runSeed } from './differ.ts';

process.on('message', async (seeds: readonly number[]) => {
  const verdicts: object[] = [];
  for (const seed of seeds)
    verdicts.push(
      await runSeed(seed).then(
        verdict => ({ seed, ...verdict }),
        (error: Error) => ({ seed, error: error.message }),
      ),
    );
  process.send!(verdicts);
});
