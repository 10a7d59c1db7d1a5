// The page: a form to join, rooms to talk in.

import { Chat } from './chat.ts';
import { recallRooms } from './rooms.ts';
import { brokerUrl, joinsAtOnce, queryOf, recall, remember, type Settings } from './settings.ts';
import { snippet } from './snippet.ts';
import { Composer } from './view/composer.ts';
import { copyOnClick, element, setText } from './view/dom.ts';
import { JoinForm } from './view/join.ts';
import { Log } from './view/log.ts';
import { MembersList } from './view/members.ts';
import { OwnStatus } from './view/own_status.ts';
import { RoomsList } from './view/rooms.ts';
import { StatusLine } from './view/status.ts';
import { TypingLine } from './view/typing.ts';

const url = brokerUrl(location);
let chat: Chat | undefined;
/** Who joined, and the room in sight. */
let joined: Settings | undefined;

const log = new Log((id) => chat?.retry(id), showSoon);
const members = new MembersList();
const status = new StatusLine(() => chat?.start());
const ownStatus = new OwnStatus((wish) => chat?.setStatus(wish));
const typing = new TypingLine();
const rooms = new RoomsList((room) => {
  chat?.enter(room);
  composer.focus();
});
const say = (text: string): void => {
  chat?.say(text);
  log.follow();
};
const composer = new Composer(sessionStorage, say, () => chat?.type());
const form = new JoinForm(join, (settings) => showCode(settings));

function join(settings: Settings): void {
  const rooms = recallRooms(settings, sessionStorage);
  chat = new Chat(url, settings, rooms, sessionStorage, showSoon);
  document.body.dataset.view = 'room';
  element('skip').setAttribute('href', '#say');
  turnTo(settings);
  chat.start();
  composer.focus();
}

/** Another room comes into sight. */
function turnTo(settings: Settings): void {
  joined = settings;
  remember(settings, sessionStorage);
  history.replaceState(null, '', queryOf({ ...settings, name: settings.token === '' ? settings.name : '' }));
  document.title = `${settings.room} · stompede`;
  element('room-name').textContent = settings.room;
  showCode(settings);
  composer.turnTo(settings.room);
}

/** Out of the room in sight; out of the last one is back to the form. */
function leave(): void {
  if (chat && chat.rooms.names.length > 1) return chat.leave(chat.rooms.current);
  chat?.stop();
  chat = undefined;
  joined = undefined;
  sessionStorage.removeItem('joined');
  document.body.dataset.view = 'join';
  document.title = 'stompede';
  element('skip').setAttribute('href', '#name');
  form.focus();
}

let due = false;

/** Shows once a frame, however much has come; a hidden page is shown when it is looked at again. */
function showSoon(): void {
  if (due) return;
  due = true;
  requestAnimationFrame(() => {
    due = false;
    if (chat) show(chat);
  });
}

function show(chat: Chat): void {
  const { room, current } = chat.rooms;
  if (joined && joined.room !== current) turnTo({ ...joined, room: current });
  status.show(chat.connection);
  log.show(room, chat.isOnline);
  members.show(room, chat.isOnline);
  ownStatus.show(chat.myStatus);
  typing.show(chat.isOnline ? room.typists.who(Date.now()) : []);
  const inSight = isLookedAt() && log.isAtEnd;
  rooms.show(chat.rooms, inSight);
  const { shut } = chat;
  setText(element('shut'), shut ? `${shut.room}: ${shut.why}` : '');
  if (inSight) chat.read();
}

function isLookedAt(): boolean {
  return document.visibilityState === 'visible' && document.hasFocus();
}

function showCode(settings: Settings): void {
  element('code').textContent = snippet(url, settings);
}

element('broker-url').textContent = url;
element('leave').addEventListener('click', leave);
copyOnClick('copy-code', () => element('code').textContent ?? '');
copyOnClick('invite', () => new URL(queryOf({ name: '', room: joined?.room ?? '' }), location.href).href);
addEventListener('focus', showSoon);
addEventListener('blur', showSoon);
document.addEventListener('visibilitychange', showSoon);

const settings = recall(location.search, sessionStorage);
form.fill(settings);
showCode(settings);
if (!joinsAtOnce(location.search, sessionStorage) || !form.submit()) form.focus();
