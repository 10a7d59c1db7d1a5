// Judges what many clients have seen of rooms that keep messages. It knows nothing of brokers: it is given what happened, in
// the order in which one process saw it happen, and says what must not have.
//
// Events, all with `room`:
//   { kind: 'sent', by, key }                             handed to the socket; once more where it is repeated
//   { kind: 'receipt', by, key }                          confirmed
//   { kind: 'subscribed', reader, recovered }             RECEIPT of SUBSCRIBE; recovered: true, false, or undefined at first
//   { kind: 'message', reader, key, position, recovered } what came; recovered: false where something before it is missing
//   { kind: 'gap', reader }                               told by itself that something is missing

/** What is wrong, in words; empty if nothing is. */
export function judge(events) {
  return [...grouped(events)].flatMap(([room, happened]) => new Room(room).judge(happened));
}

/** How often readers were told that something is missing. */
export function gapsTold(events) {
  return [...grouped(events).values()].reduce((count, happened) => {
    const readers = new Map();
    for (const event of happened) if (event.reader !== undefined) reader(readers, event.reader).take(event, 0);
    return [...readers.values()].reduce((sum, { gaps }) => sum + gaps, count);
  }, 0);
}

/** One who reads in one room, over all his connections. */
class Reader {
  /** Messages in the order in which they came, `isCut` where something before it may be missing. */
  seen = [];
  /** When he subscribed at first, or was last told that something is missing. */
  since;
  /** Whether he was told so, and no message has come since. */
  isCut = true;
  /** How often he was told. */
  gaps = 0;

  constructor(name) {
    this.name = name;
  }

  /** Something has happened to him. */
  take(event, at) {
    const isFirst = event.kind === 'subscribed' && this.since === undefined;
    const isTold = event.kind === 'gap' || event.recovered === false;
    const isNew = isTold && !isFirst && !(event.kind === 'message' && this.isCut);
    if (isNew) this.gaps += 1;
    if (isFirst || isNew) [this.since, this.isCut] = [at, true];
    if (event.kind !== 'message') return;
    this.seen.push({ key: event.key, position: event.position, isCut: this.isCut, gaps: this.gaps });
    this.isCut = false;
  }
}

class Room {
  #faults = [];
  #readers = new Map();
  /** Of each key: who sent it, when first, whether it was confirmed. */
  #sent = new Map();
  /** The key at each position. */
  #positions = new Map();

  constructor(name) {
    this.name = name;
  }

  judge(events) {
    events.forEach((event, at) => this.#take(event, at));
    for (const one of this.#readers.values()) this.#once(one);
    this.#oneOrder();
    this.#noHole();
    this.#noFalseReceipt();
    return this.#faults;
  }

  #fault(text) {
    this.#faults.push(`${this.name}: ${text}`);
  }

  #take(event, at) {
    if (event.kind === 'sent') {
      if (!this.#sent.has(event.key)) this.#sent.set(event.key, { by: event.by, at, isConfirmed: false });
    } else if (event.kind === 'receipt') {
      const sent = this.#sent.get(event.key);
      if (sent) sent.isConfirmed = true;
      else this.#fault(`a receipt for ${event.key}, which nobody sent`);
    } else {
      const one = reader(this.#readers, event.reader);
      one.take(event, at);
      if (event.kind === 'message') this.#know(event);
    }
  }

  #know({ reader: name, key, position }) {
    if (!this.#sent.has(key)) this.#fault(`${name} got ${key}, which nobody sent`);
    if (!position) return this.#fault(`${name} got ${key} without a position`);
    const known = this.#positions.get(position) ?? key;
    if (known !== key) this.#fault(`${position} is the position of ${known} and of ${key}`);
    this.#positions.set(position, known);
  }

  /** Nothing twice. What was lost with its numbers may come again under another one, to those who were told so. */
  #once({ name, seen }) {
    const positions = new Set();
    const keys = new Map();
    for (const { key, position, gaps } of seen) {
      if (positions.has(position)) this.#fault(`${name} got ${key} twice at ${position}`);
      else if (keys.get(key) === gaps) this.#fault(`${name} got ${key} twice, the second time at ${position}`);
      positions.add(position);
      keys.set(key, gaps);
    }
  }

  /** There is an order in which all have seen what they saw. */
  #oneOrder() {
    const next = new Map([...this.#positions.keys()].map((position) => [position, new Set()]));
    for (const { seen } of this.#readers.values()) {
      for (let i = 1; i < seen.length; i += 1) next.get(seen[i - 1].position)?.add(seen[i].position);
    }
    const before = new Map([...next.keys()].map((position) => [position, 0]));
    for (const followers of next.values()) {
      for (const position of followers) before.set(position, before.get(position) + 1);
    }
    const free = [...before].filter(([, count]) => count === 0).map(([position]) => position);
    let ordered = 0;
    while (free.length > 0) {
      ordered += 1;
      for (const position of next.get(free.pop())) {
        before.set(position, before.get(position) - 1);
        if (before.get(position) === 0) free.push(position);
      }
    }
    if (ordered === next.size) return;
    const left = [...before].filter(([, count]) => count > 0).map(([position]) => this.#positions.get(position));
    this.#fault(`not one order: ${left.slice(0, 6).join(', ')}`);
  }

  /** Where nobody was told of anything missing, one message has one successor and one predecessor for all. */
  #noHole() {
    const [after, before] = [new Map(), new Map()];
    for (const { name, seen } of this.#readers.values()) {
      for (let i = 1; i < seen.length; i += 1) {
        if (seen[i].isCut) continue;
        this.#meet(after, name, 'after', seen[i - 1], seen[i]);
        this.#meet(before, name, 'before', seen[i], seen[i - 1]);
      }
    }
  }

  #meet(known, name, where, here, there) {
    const other = known.get(here.position);
    if (!other) known.set(here.position, { name, position: there.position, faults: 0 });
    else if (other.position !== there.position && (other.faults += 1) <= FAULTS_SHOWN) {
      const [mine, theirs] = [there.key, this.#positions.get(other.position)];
      this.#fault(`a hole: ${where} ${here.key} ${name} has ${mine}, and ${other.name} has ${theirs}`);
    }
  }

  /** Each confirmed message has come to everybody who was there and was not told of a gap since it was sent. */
  #noFalseReceipt() {
    const readers = [...this.#readers.values()].filter(({ since }) => since !== undefined);
    const seen = new Map(readers.map((one) => [one, new Set(one.seen.map(({ key }) => key))]));
    for (const [key, { by, at, isConfirmed }] of this.#sent) {
      if (!isConfirmed) continue;
      const due = readers.filter(({ since }) => since < at);
      const lacking = due.filter((one) => !seen.get(one).has(key)).map(({ name }) => name);
      if (lacking.length === 0) continue;
      const everybody = lacking.length === due.length && !this.#keys().has(key);
      if (everybody) this.#fault(`a false receipt: ${key} of ${by} came to nobody`);
      else this.#fault(`a hole: ${key} of ${by} never came to ${lacking.slice(0, FAULTS_SHOWN).join(', ')}`);
    }
  }

  #keys() {
    this.keys ??= new Set(this.#positions.values());
    return this.keys;
  }
}

function reader(readers, name) {
  if (!readers.has(name)) readers.set(name, new Reader(name));
  return readers.get(name);
}

function grouped(events) {
  const groups = new Map();
  for (const event of events) {
    if (!groups.has(event.room)) groups.set(event.room, []);
    groups.get(event.room).push(event);
  }
  return groups;
}

/** Readers named for one fault. */
const FAULTS_SHOWN = 5;
