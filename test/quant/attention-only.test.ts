/** A hybrid all of whose layers attend lacks the words of the scan; every row of the table runs on it all the same. */
import { expect, it } from 'vitest';
import { graphOf, parseConfig } from '../../src/model/index.ts';
import { checkRecipe } from '../../src/quant/check-recipe.ts';
import { planOf } from '../../src/quant/pipeline.ts';
import { recipes } from '../../src/quant/recipes.ts';
import type { Recipe } from '../../src/quant/scheme.ts';
import { randomModel } from '../../src/random/model.ts';
import { nominalRecipe, nominalStats } from '../../src/random/nominal-ranges.ts';
import { configs } from '../../src/random/shapes.ts';
import { interpret } from '../../src/run.ts';
import { thrown } from '../formats/file.ts';

const config = parseConfig(
  {
    ...{ ...configs['granite-4.0-h-350m'], num_hidden_layers: 2, hidden_size: 16, vocab_size: 32 },
    ...{ layer_types: ['attention', 'attention'], num_attention_heads: 2, num_key_value_heads: 1 },
    ...{ shared_intermediate_size: 16, mamba_n_heads: 4, mamba_d_head: 8, position_embedding_type: 'rope' },
  },
  'config.json',
);
const graph = graphOf(config);

/** But one, for which random weights have no ranges. */
const rows = (Object.keys(recipes) as (keyof typeof recipes)[]).filter(name => name !== 'smoothquant');
it.each(rows)('%s', name => {
  const scheme = checkRecipe({ name, scheme: recipes[name] }, config, graph);
  const row = nominalRecipe(scheme);
  const program = randomModel(config, 1);
  const plan = planOf(program, row, nominalStats(program, row));
  const logits = interpret(plan)
    .open()
    .feed(Int32Array.of(1, 2, 3));
  expect(logits.data.every(Number.isFinite)).toBe(true);
});

it('a word that no model has is an error as before', () => {
  const scheme = { at: { dtLow: { basis: 'hadamard' } } } as Recipe; // of Mamba-1
  expect(thrown(() => checkRecipe({ name: 'x', scheme }, config, graph)).message).toContain(
    'has no site "dtLow"',
  );
});
