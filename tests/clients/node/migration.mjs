// What the pages for those who come from elsewhere show, as it stands there: so that what they say is run.

import { execFileSync } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { BINARY } from '../broker.mjs';

/** The blocks of this language in a page of docs/. */
export async function blocks(page, language) {
  const text = await readFile(new URL(`../../../docs/${page}`, import.meta.url), 'utf8');
  return [...text.matchAll(/```(\w+)\n(.*?)```/gs)].filter(([, kind]) => kind === language).map(([, , code]) => code);
}

/** The only block with this text. */
export async function block(page, language, containing) {
  const found = (await blocks(page, language)).filter((code) => code.includes(containing));
  if (found.length !== 1) throw new Error(`docs/${page} has ${found.length} ${language} blocks with ${containing}`);
  return found[0];
}

/** A configuration of a page, the hashes in it those of the passcode `guest`. */
export async function withPasscodes(page, containing) {
  return hashed(await block(page, 'toml', containing));
}

/** A configuration in which the place of each hash is taken by that of the passcode `guest`. */
export function hashed(config) {
  return config.replaceAll(/passcode_hash = "[^"]*"/g, `passcode_hash = "${(guest ??= hash('guest'))}"`);
}

let guest;

/** What `stompede hash` makes of a passcode. */
function hash(passcode) {
  return execFileSync(BINARY, ['hash'], { input: passcode, encoding: 'utf8' }).trim();
}
