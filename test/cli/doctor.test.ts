/** `quamba doctor`: what it says is what the backend does. */
import { describe, expect, it } from 'vitest';
import { probes, variantOf } from '../../src/backends/wasm/variants.ts';
import { EMBEDDED_MODEL, load } from '../../src/open/node.ts';
import { statesBytes } from '../../src/state.ts';
import { answer, complaint, printed, workFolder } from './run.ts';

const folder = workFolder();

interface Report {
  readonly node: string;
  readonly backend: string;
  readonly kernels: {
    readonly chosen: string | null;
    readonly tried: readonly { readonly name: string; readonly usable: boolean; readonly why: string }[];
  };
  readonly threads: { readonly most: number; readonly shared: boolean };
  readonly memory: { readonly total: number; readonly free: number; readonly most: number };
  readonly sameBits: Readonly<Record<string, boolean>>;
}

describe('quamba doctor', () => {
  it('tells the kernels that are chosen, why the others are not, threads, memory, and that the bits are right', async () => {
    const report = await answer<Report>(folder, 'doctor');
    expect(report.node).toBe(process.version);
    expect(report.backend).toBe('wasm');
    expect(report.kernels.chosen).toBe(variantOf().name);
    expect(report.kernels.tried.map(({ name, why }) => [name, why])).toEqual(
      probes().map(({ name, why }) => [name, why]),
    );
    expect(report.threads).toMatchObject({ shared: true });
    expect(report.threads.most).toBeGreaterThanOrEqual(1);
    expect(report.memory.most).toBe(2 ** 32);
    expect(Object.values(report.sameBits).length).toBeGreaterThanOrEqual(1);
    expect(Object.values(report.sameBits)).not.toContain(false);
  });

  it('in words', async () => {
    const text = await printed(folder, 'doctor');
    expect(text).toMatch(/^simd +chosen: |^relaxed-simd +chosen: /m);
    expect(text).toMatch(/^bits +the reference's on 1 thread: yes$/m);
  });

  it('tells what a model takes, before it is loaded', async () => {
    const { model } = await answer<{ readonly model: object }>(folder, 'doctor', '--model', EMBEDDED_MODEL);
    const { plan, executable, dispose } = await load();
    expect(model).toEqual({ path: EMBEDDED_MODEL, recipe: 'quamba', ...executable.about!.sizes });
    expect(model).toMatchObject({ states: statesBytes(plan.graph.states, 0), cachePerToken: 0 });
    dispose();
    expect(await complaint(2, folder, 'doctor', '--context', '100')).toContain('--context');
  });

  it('takes no other option', async () => {
    expect(await complaint(2, folder, 'doctor', '--recipe', 'quamba')).toContain('--recipe');
  });
});

describe('a variant', () => {
  it('that this engine cannot run is an error that says why', () => {
    for (const { name, variant, why } of probes())
      if (variant) expect(variantOf(name)).toBe(variant);
      else expect(() => variantOf(name)).toThrow(`backend wasm: ${name}: ${why}`);
  });
});
