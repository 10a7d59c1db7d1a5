// Rows of tables. What others have named enters as text, each name by itself whatever way it is read.

import { element, make } from '../view/dom.ts';
import { visible } from './visible.ts';

/** A name that somebody else has chosen, or a number, with a unit or without, or something of ours. */
export type Cell = { name: string } | { measure: string } | number | string | HTMLElement;

/** Puts rows in place of what a table has; where there are none it says so. */
export function fill(table: string, rows: Cell[][], none: string): void {
  const { tHead, tBodies } = element<HTMLTableElement>(table);
  const body = tBodies[0];
  if (!body) return;
  const made = rows.map((cells) => {
    const row = make('tr');
    row.append(...cells.map(cellOf));
    return row;
  });
  if (made.length === 0) {
    const row = make('tr');
    const cell = make('td', 'none', none);
    cell.colSpan = tHead?.rows[0]?.cells.length ?? 1;
    row.append(cell);
    made.push(row);
  }
  body.replaceChildren(...made);
}

/** A name in an element of its own. */
export function named(name: string): HTMLElement {
  return make('bdi', 'name', visible(name));
}

/** Says 3 s, 5 min, 2 h, 4 d. */
export function lasting(ms: number): string {
  const seconds = Math.round(ms / 1_000);
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3_600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 86_400) return `${Math.floor(seconds / 3_600)} h`;
  return `${Math.floor(seconds / 86_400)} d`;
}

/** Says 12 B, 3.4 KiB, 5.6 MiB. */
export function size(bytes: number): string {
  const steps = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  const step = bytes < 1 ? 0 : Math.min(Math.floor(Math.log2(bytes) / 10), steps.length - 1);
  const value = bytes / 1_024 ** step;
  return `${step === 0 ? value : value.toFixed(1)} ${steps[step]}`;
}

function cellOf(cell: Cell): HTMLElement {
  if (typeof cell === 'number') return make('td', 'number', cell.toLocaleString('en'));
  if (typeof cell === 'object' && 'measure' in cell) return make('td', 'number', cell.measure);
  const made = make('td');
  if (typeof cell === 'string') made.textContent = cell;
  else made.append(cell instanceof HTMLElement ? cell : named(cell.name));
  return made;
}
