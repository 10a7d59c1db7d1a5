// Small things around the document. All text enters by `textContent`.

/** The element with this id; the page is broken without it. */
export function element<T extends HTMLElement = HTMLElement>(id: string): T {
  const found = document.getElementById(id);
  if (!found) throw new Error(`no element #${id}`);
  return found as T;
}

/** Makes an element with a class and a text. */
export function make<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  className = '',
  text = '',
): HTMLElementTagNameMap[K] {
  const made = document.createElement(tag);
  if (className !== '') made.className = className;
  if (text !== '') made.textContent = text;
  return made;
}

/** Writes only what differs, so that a reader of the screen is not told the same again. */
export function setText(target: HTMLElement, text: string): void {
  if (target.textContent !== text) target.textContent = text;
}

/** Makes a button copy a text and say so. */
export function copyOnClick(id: string, text: () => string): void {
  const button = element<HTMLButtonElement>(id);
  const label = button.textContent ?? '';
  button.addEventListener('click', async () => {
    const said = await navigator.clipboard.writeText(text()).then(
      () => 'Copied',
      () => 'Copying is not allowed here',
    );
    button.textContent = said;
    setTimeout(() => (button.textContent = label), 1_600);
  });
}

/** A disc with a person's first letter, in a colour that is always theirs. */
export function avatar(userId: string): HTMLElement {
  const disc = make('span', `avatar hue-${hueOf(userId)}`, firstLetter(userId));
  disc.setAttribute('aria-hidden', 'true');
  return disc;
}

/** 14:05 in the reader's way of writing it; with the day, unless that is today's. */
export function clock(at: number): string {
  return (new Date(at).toDateString() === new Date().toDateString() ? CLOCK : CALENDAR).format(at);
}

const CLOCK = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit' });
const CALENDAR = new Intl.DateTimeFormat(undefined, { day: 'numeric', month: 'short', hour: '2-digit', minute: '2-digit' });

function hueOf(userId: string): number {
  let mixed = 2_166_136_261;
  for (const char of userId) mixed = Math.imul(mixed ^ (char.codePointAt(0) ?? 0), 16_777_619) >>> 0;
  return (mixed >>> 8) % HUES;
}

/** As many as the style sheet has. */
const HUES = 8;

function firstLetter(userId: string): string {
  const [first] = new Intl.Segmenter().segment(userId.trim());
  return (first?.segment ?? '?').toLocaleUpperCase();
}
