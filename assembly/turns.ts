// The turns of a pass: of which sequence the rows are. See sync.ts.
import { TURN_BYTES, TURNS } from '../src/backends/wasm/sync';

@inline export function turnCount(): i32 { return load<i32>(TURNS); }
/** The address of a turn: the turns lie behind their count. */
@inline function turnAt(turn: i32): usize { return TURNS + 4 + TURN_BYTES * turn; }
/** A state of the turn's sequence, from the same state of the first place. */
@inline export function stateOf(state: usize, turn: i32): usize { return state + load<usize>(turnAt(turn)); }
/** The first row of the turn, and the end of its rows. */
@inline export function firstRow(turn: i32): i32 { return load<i32>(turnAt(turn), 4); }
@inline export function endRow(turn: i32): i32 { return load<i32>(turnAt(turn), 8); }
/** How many tokens of the text come before a row. */
@inline export function positionOf(turn: i32, row: i32): i32 { return load<i32>(turnAt(turn), 12) + row - firstRow(turn); }
/** The page with so many pages before it. */
@inline export function pageOf(turn: i32, page: i32): usize { return load<usize>(load<usize>(turnAt(turn), 16) + (<usize>page << 2)); }
