/** Every stored call: the inputs that hunt the known mistakes of each op. */
import { bind } from '../../op.ts';
import type { Case, Subject } from '../case.ts';
import { opCase, opNamed } from '../judge/judge.ts';

export const goldenCases = (subject: Subject): Case[] =>
  subject.goldens.flatMap(({ op: name, name: golden, says, read }) => {
    const op = opNamed(name);
    if (!op) return [];
    const address = `op/${name}/golden/${golden}`;
    return opCase(subject, op, { address, says, quick: true }, () => {
      const { inputs, attrs } = read();
      return bind(op, inputs, attrs);
    });
  });
