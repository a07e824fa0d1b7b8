import * as comlink from 'comlink';
import { gateOf } from './gate.ts';
import type { SsdSample } from './sample.ts';

const api = { gate: (sample: SsdSample) => gateOf(sample) };
export type GateWorker = typeof api;
comlink.expose(api);
