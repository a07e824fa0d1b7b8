/** Every stored call. Its inputs are chosen so that a known mistake of the op shows. */

import { bind } from '../../op.ts';
import type { Case, Subject } from '../case.ts';
import { formNamed } from '../forms.ts';
import { opCase } from '../judge/judge.ts';

export const goldenCases = (subject: Subject): Case[] =>
  subject.goldens.flatMap(({ form: name, name: golden, says, read }) => {
    const form = formNamed(name);
    if (!form) return [];
    const address = `op/${name}/golden/${golden}`;
    return opCase(subject, form, { address, says, quick: true }, () => {
      const { inputs, attrs, kept } = read();
      return bind(form.op, inputs, attrs, kept);
    });
  });
