/** The bits of the recipes that are calibrated before they are run. */
import { testLogits } from './logits.ts';

testLogits({ calibrated: true });
