// Who else types. The field is described by it, so that whoever enters it hears it once.

import { listed } from '../names.ts';
import { element, setText } from './dom.ts';

export class TypingLine {
  readonly #line = element('typing');

  show(who: string[]): void {
    setText(this.#line, who.length === 0 ? '' : `${listed(who)} ${who.length === 1 ? 'is' : 'are'} typing…`);
  }
}
