// Names in a sentence.

/** "bob", "bob and carol", "bob, carol and 3 others". */
export function listed(names: string[]): string {
  const [first = '', second = ''] = names;
  switch (names.length) {
    case 0:
    case 1:
      return first;
    case 2:
      return `${first} and ${second}`;
    case 3:
      return `${first}, ${second} and ${names[2]}`;
    default:
      return `${first}, ${second} and ${names.length - 2} others`;
  }
}
