// What programs say in rooms.

/** A message of a room, as a program sends it. */
export const text = (content) => JSON.stringify({ type: 'TEXT', content });

/** Texts from `first` to `last`. */
export const numbered = (first, last) => Array.from({ length: last - first + 1 }, (_, n) => `number ${first + n}`);

/** Says them one after the other. */
export async function sendAll(peer, room, texts) {
  for (const each of texts) await peer.send(`/app/chat/${room}/send`, text(each));
}
