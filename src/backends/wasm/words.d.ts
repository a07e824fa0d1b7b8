/** What the types of instruction-formats.ts mean to TypeScript. To AssemblyScript they are words of 32 bits. */
import type { Address, Float } from './operands.ts';

declare global {
  type usize = Address;
  type i32 = number;
  type f32 = Float;
}
