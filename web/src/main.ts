// The page: a form to join, a room to talk in.

import { Chat } from './chat.ts';
import { brokerUrl, joinsAtOnce, queryOf, recall, remember, type Settings } from './settings.ts';
import { snippet } from './snippet.ts';
import { Composer } from './view/composer.ts';
import { copyOnClick, element } from './view/dom.ts';
import { JoinForm } from './view/join.ts';
import { Log } from './view/log.ts';
import { MembersList } from './view/members.ts';
import { StatusLine } from './view/status.ts';

const url = brokerUrl(location);
let chat: Chat | undefined;

const log = new Log((id) => chat?.retry(id));
const members = new MembersList();
const status = new StatusLine(() => chat?.start());
const composer = new Composer(sessionStorage, (text) => {
  chat?.say(text);
  log.follow();
});
const form = new JoinForm(join, (settings) => showCode(settings));

function join(settings: Settings): void {
  remember(settings, sessionStorage);
  history.replaceState(null, '', queryOf({ ...settings, name: settings.token === '' ? settings.name : '' }));
  document.title = `${settings.room} · stompede`;
  element('room-name').textContent = settings.room;
  document.body.dataset.view = 'room';
  element('skip').setAttribute('href', '#say');
  showCode(settings);
  chat = new Chat(url, settings, sessionStorage, showSoon);
  chat.start();
  log.follow();
  composer.focus();
}

function leave(): void {
  chat?.stop();
  chat = undefined;
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
    if (!chat) return;
    const online = chat.connection.is === 'online';
    status.show(chat.connection);
    log.show(chat.room.entries, online);
    members.show(chat.room, online);
  });
}

function showCode(settings: Settings): void {
  element('code').textContent = snippet(url, settings);
}

element('broker-url').textContent = url;
element('leave').addEventListener('click', leave);
copyOnClick('copy-code', () => element('code').textContent ?? '');
copyOnClick('invite', () => new URL(queryOf({ name: '', room: chat?.settings.room ?? '' }), location.href).href);

const settings = recall(location.search, sessionStorage);
form.fill(settings);
showCode(settings);
if (!joinsAtOnce(location.search, sessionStorage) || !form.submit()) form.focus();
