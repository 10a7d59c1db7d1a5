// What others have named, so that nothing of it is hidden.

/** The name with what cannot be seen, or turns the direction of what follows, written as `\u202e`. */
export function visible(name: string): string {
  return name.replace(UNSEEN, (character) => `\\u${character.codePointAt(0)?.toString(16).padStart(4, '0')}`);
}

const UNSEEN = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu;
