/** What a block is written with. */
import type { Builder, Ref } from '../../graph.ts';
import { ops } from '../../ops/index.ts';

/** The weights whose names begin with `prefix.`, of which some may be absent; columns of a value; and y = W x + b. */
export function layerOf<Role extends string>(g: Builder, prefix: string) {
  const weight = (name: string, shape: readonly number[], role?: Role) =>
    g.weight(`${prefix}.${name}`, shape, role);
  const optional = (name: string, shape: readonly number[], present: boolean) =>
    present ? weight(name, shape) : undefined;
  return {
    weight,
    optional,
    part: (name: string, x: Ref, start: number, size: number) =>
      g.op(name, ops.slice, { x }, { start, size }),
    /** `[rows, columns]`: the shape of the weight `<of>.weight`; with `bias` there is `<of>.bias` too. */
    linear: (name: string, x: Ref, of: string, shape: readonly [number, number], role: Role, bias = false) =>
      g.op(name, ops.linear, {
        x,
        w: weight(`${of}.weight`, shape, role),
        b: optional(`${of}.bias`, [shape[0]], bias),
      }),
  };
}
