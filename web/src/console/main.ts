// The console of operators: what this broker and its other instances are doing, and who is there.

import * as broker from './broker.ts';
import { read, only, Minute, type Metrics } from './metrics.ts';
import { fill, lasting, named, size, type Cell } from './rows.ts';
import { visible } from './visible.ts';
import { element, make, setText } from '../view/dom.ts';

/** From one answer to the next question. */
const EACH_MS = 2_000;
/** Destinations of a session that are shown. */
const DESTINATIONS = 5;

const minute = new Minute();

/** Asks again and again while somebody looks. */
async function watch(): Promise<void> {
  for (;;) {
    if (!document.hidden) await look();
    await new Promise((resume) => setTimeout(resume, EACH_MS));
  }
}

async function look(): Promise<void> {
  try {
    const [overview, page] = await Promise.all([broker.overview(), broker.metrics()]);
    const metrics = read(page);
    showState(overview);
    showLists(overview);
    showConnections(metrics);
    showStore(overview, metrics);
    showCloses(metrics);
  } catch (problem) {
    say('bad', `no answer: ${(problem as Error).message}`);
  }
}

function showState({ this: self, notReady }: broker.Overview): void {
  if (notReady === undefined) say('ready', 'ready');
  else say('bad', `not ready: ${notReady}`);
  setText(element('this'), `${self.version}, up for ${lasting(self.uptimeSeconds * 1_000)}, holds ${size(self.heldBytes)}`);
  setText(element('store-name'), self.store);
}

function say(is: string, text: string): void {
  element('state').dataset['is'] = is;
  setText(element('state'), text);
}

function showLists({ cluster, rooms, queues }: broker.Overview): void {
  fill('nodes', cluster.nodes.map(({ node, version, sessions }) => [{ name: node }, version, sessions]), 'no node has answered');
  setText(element('nodes-count'), String(cluster.nodes.length));
  element('nodes-missing').hidden = !cluster.missing;
  setText(element('nodes-missing'), `${cluster.missing ?? 0} have not answered`);
  fill('rooms', rooms.rooms.map(({ name, present }) => [{ name }, present]), 'nobody is in a room');
  setText(element('rooms-count'), shown(rooms.rooms.length, rooms.count));
  fill('queues', queues.queues.map(row), 'no queue has messages or consumers');
  setText(element('queues-count'), shown(queues.queues.length, queues.count));
}

function row({ name, depth, out, consumers, oldestAgeMs }: broker.Queue): Cell[] {
  return [{ name }, depth, out, consumers, { measure: oldestAgeMs === undefined ? '' : lasting(oldestAgeMs) }];
}

function shown(listed: number, count: number): string {
  return listed < count ? `${listed} of ${count}` : String(count);
}

function showConnections(metrics: Metrics): void {
  const open = metrics.get('stompede_connections') ?? [];
  fill('connections', open.map(({ labels, value }) => [labels['transport'] ?? '', value]), 'nothing is known');
  setText(element('connections-count'), String(open.reduce((sum, { value }) => sum + value, 0)));
}

function showStore({ this: self }: broker.Overview, metrics: Metrics): void {
  const rows: Cell[][] = [];
  const add = (text: string, name: string, say: (value: number) => string) => {
    const value = only(metrics, name);
    if (value !== undefined) rows.push([text, { measure: say(value) }]);
  };
  const yes = (value: number) => (value === 1 ? 'yes' : 'NO');
  add('Redis is reached', 'stompede_redis_up', yes);
  add('Round trip', 'stompede_redis_round_trip_seconds', (value) => `${(value * 1_000).toFixed(1)} ms`);
  add('Redis servers', 'stompede_redis_servers', String);
  add('On disk', 'stompede_disk_records_bytes', size);
  add('Full at', 'stompede_disk_records_max_bytes', size);
  add('Free in the file system', 'stompede_disk_free_bytes', size);
  add('Waits for the disk', 'stompede_disk_orders_waiting', String);
  rows.push(['Held in memory', { measure: size(self.heldBytes) }]);
  fill('store', rows, '');
}

function showCloses(metrics: Metrics): void {
  const closes = metrics.get('stompede_sessions_closed_total') ?? [];
  const counts = new Map(closes.map(({ labels, value }) => [labels['reason'] ?? '', value]));
  const recent = minute.take(Date.now(), counts);
  const rows = [...counts].filter(([, count]) => count > 0).map(([reason, count]): [string, number, number] => [reason, recent.get(reason) ?? 0, count]);
  rows.sort(([, recently, all], [, otherRecently, otherAll]) => otherRecently - recently || otherAll - all);
  fill('closes', rows, 'nobody was closed');
}

async function find(): Promise<void> {
  const [by, name] = [element<HTMLSelectElement>('by').value, element<HTMLInputElement>('name').value];
  try {
    const found = await broker.sessions(by, name);
    fill('sessions', found.sessions.map(sessionRow), 'nobody');
    setText(element('sessions-count'), shown(found.sessions.length, found.count));
    setText(element('sessions-said'), found.missing ? `${found.missing} nodes have not answered` : '');
  } catch (problem) {
    setText(element('sessions-said'), (problem as Error).message);
  }
}

function sessionRow(found: broker.Session): Cell[] {
  const names = make('div');
  for (const destination of found.destinations.slice(0, DESTINATIONS)) {
    const line = make('div');
    line.append(named(destination));
    names.append(line);
  }
  const more = found.subscriptions - Math.min(found.destinations.length, DESTINATIONS);
  if (more > 0) names.append(make('div', 'muted', `and ${more} more`));
  const button = make('button', 'bad', 'Kick');
  button.type = 'button';
  button.addEventListener('click', () => confirm(found));
  return [found.user === undefined ? make('span', 'muted', 'not signed in') : { name: found.user }, { name: found.session }, { name: found.node }, names, button];
}

let aimed: broker.Session | undefined;

function confirm(found: broker.Session): void {
  aimed = found;
  setText(element('confirm-who'), visible(found.user ?? found.session));
  element<HTMLInputElement>('reason').value = '';
  element<HTMLDialogElement>('confirm').showModal();
}

async function kick(): Promise<void> {
  const dialog = element<HTMLDialogElement>('confirm');
  dialog.close();
  if (!aimed) return;
  try {
    const ended = await broker.kick(aimed.session, element<HTMLInputElement>('reason').value.trim());
    await find();
    setText(element('sessions-said'), ended === 1 ? 'The session is ended.' : 'The session was gone already.');
  } catch (problem) {
    setText(element('sessions-said'), (problem as Error).message);
  }
}

element('find').addEventListener('click', () => void find());
element('name').addEventListener('keydown', (event) => {
  if (event.key === 'Enter') void find();
});
element('cancel').addEventListener('click', () => element<HTMLDialogElement>('confirm').close());
element('kick').addEventListener('click', () => void kick());
void find();
void watch();
