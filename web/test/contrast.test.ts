import assert from 'node:assert/strict';
import { test } from 'node:test';
import css from '../src/colours.css';

/** Text and the ground it stands on, by the names of the style sheet. */
const PAIRS = [
  ['ink', 'ground'], ['ink', 'surface'], ['ink', 'raised'], ['ink', 'accent-soft'], ['ink', 'bad-soft'],
  ['muted', 'ground'], ['muted', 'surface'], ['muted', 'raised'],
  ['accent', 'accent-soft'], ['on-accent', 'accent'],
  ['warn', 'warn-soft'], ['warn', 'surface'], ['bad', 'bad-soft'], ['bad', 'surface'], ['bad', 'raised'], ['bad', 'ground'],
  ['code-ink', 'code-ground'],
] as const;

/** What is not text, but must be seen: the edge of a field, the ring of the focus. */
const EDGES = [
  ['accent', 'surface'], ['bad', 'surface'],
  ['field-line', 'surface'], ['field-line', 'raised'], ['ring', 'surface'], ['ring', 'ground'],
] as const;

function colours(block: string): Record<string, string> {
  return Object.fromEntries([...block.matchAll(/--([\w-]+): (#[0-9a-f]{6});/g)].map(([, name, value]) => [name, value]));
}

function luminance(colour: string): number {
  const [red, green, blue] = [1, 3, 5].map((at) => {
    const part = Number.parseInt(colour.slice(at, at + 2), 16) / 255;
    return part <= 0.040_45 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
  }) as [number, number, number];
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
}

function contrast(one: string, other: string): number {
  const [low, high] = [luminance(one), luminance(other)].sort((a, b) => a - b) as [number, number];
  return (high + 0.05) / (low + 0.05);
}

const [light = '', dark = ''] = css.split('@media (prefers-color-scheme: dark)');
const schemes = { light: colours(light), dark: { ...colours(light), ...colours(dark) } };

for (const [scheme, palette] of Object.entries(schemes)) {
  test(`WCAG AA holds in the ${scheme} scheme`, () => {
    for (const [pairs, least] of [[PAIRS, 4.5], [EDGES, 3]] as const) {
      for (const [front, back] of pairs) {
        const ratio = contrast(palette[front] ?? '', palette[back] ?? '');
        assert.ok(ratio >= least, `${front} on ${back}: ${ratio.toFixed(2)}`);
      }
    }
  });
}

test('white letters can be read on every avatar', () => {
  const hues = [...css.matchAll(/\.hue-\d \{ background: (#[0-9a-f]{6}); \}/g)];
  assert.equal(hues.length, 8);
  for (const [, colour] of hues) assert.ok(contrast(colour ?? '', '#ffffff') >= 4.5, colour);
});

test('the measure is the standard one', () => {
  assert.equal(contrast('#000000', '#ffffff'), 21);
  assert.equal(contrast('#777777', '#ffffff').toFixed(2), '4.48');
});
