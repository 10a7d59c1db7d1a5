// Somebody at the page, in Chromium.

import assert from 'node:assert/strict';
import { accessSync, constants, mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { chromium } from 'playwright-core';
import { until } from '../cluster.mjs';

let folder;

/** Where the pictures go; the variable CLIENT_TEST_PICTURES names another folder. */
export function pictures() {
  folder ??= process.env.CLIENT_TEST_PICTURES ?? mkdtempSync(join(tmpdir(), 'stompede-pictures-'));
  return folder;
}

const ARGS = [
  '--headless',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

/** The browser of this machine; a test without one fails. */
export async function launch() {
  return chromium.launch({ executablePath: executable(), args: ARGS });
}

/**
 * Stops the processes in which a browser runs its pages, as an operating system does; gives what lets them go on, which
 * may be called again.
 */
export async function freeze(browser) {
  const cdp = await browser.newBrowserCDPSession();
  const { processInfo } = await cdp.send('SystemInfo.getProcessInfo');
  const renderers = processInfo.filter(({ type }) => type === 'renderer').map(({ id }) => id);
  for (const id of renderers) signal(id, 'SIGSTOP');
  return () => renderers.splice(0).forEach((id) => signal(id, 'SIGCONT'));
}

export class Person {
  page;
  /** What the console complained of. */
  complaints = [];

  /** Opens the page in a window of its own; the test `t` closes it and fails on any complaint of the console. */
  static async open(t, browser, broker, { path = '/', size = [1280, 800], mayFail = /^$/, prepare, ...context } = {}) {
    const person = new Person();
    const windows = await browser.newContext({ viewport: { width: size[0], height: size[1] }, ignoreHTTPSErrors: true, ...context });
    person.page = await windows.newPage();
    person.page.setDefaultTimeout(DEADLINE_MS);
    person.page.on('console', (message) => {
      const known = mayFail.test(message.text());
      if (['error', 'warning'].includes(message.type()) && !known) person.complaints.push(message.text());
    });
    person.page.on('pageerror', (error) => person.complaints.push(String(error)));
    t.after(async () => {
      await windows.close();
      assert.deepEqual(person.complaints, []);
    });
    await prepare?.(person.page);
    await person.page.goto(new URL(path, `http://${broker.http}`).href);
    return person;
  }

  /** Opens the page and joins by its address. */
  static async join(t, browser, broker, name, room, options = {}) {
    const path = `/?${new URLSearchParams({ name, room })}`;
    const person = await Person.open(t, browser, broker, { path, ...options });
    await person.is('online');
    return person;
  }

  /** Waits for the connection to be `online`, `waiting`, `refused`, ... */
  async is(state, timeout = DEADLINE_MS) {
    await this.page.locator(`#status[data-is="${state}"]`).waitFor({ timeout });
  }

  async say(text) {
    await this.page.locator('#say').fill(text);
    await this.page.locator('#say').press('Enter');
  }

  /** Waits until a message with this text stands in the list, as sent. */
  async sees(text, timeout = DEADLINE_MS) {
    await this.page.locator('li.message.sent .body', { hasText: text }).first().waitFor({ timeout });
  }

  /** Waits until exactly these people are listed. */
  async seesMembers(...names) {
    const count = this.page.locator('#member-count');
    await count.filter({ hasText: new RegExp(`^${names.length}$`) }).waitFor();
    const listed = await this.page.locator('#members .who-name').allTextContents();
    assert.deepEqual(listed.sort(), names.sort());
  }

  /** Waits until somebody is listed with this status. */
  async seesStatus(name, status) {
    const member = this.page.locator('#members li').filter({ has: this.page.getByText(name, { exact: true }) });
    await member.getByText(status, { exact: true }).waitFor({ state: 'attached' });
  }

  /** Joins a further room. */
  async joins(room) {
    await this.page.getByLabel('Join another').fill(room);
    await this.page.getByLabel('Join another').press('Enter');
  }

  /** Puts a room in sight. */
  async turnsTo(room) {
    await this.page.locator(`#rooms button[title="${room}"]`).click();
    await this.page.locator('#room-name').getByText(room, { exact: true }).waitFor();
  }

  /** Names of the rooms in the list. */
  rooms() {
    return this.page.locator('#rooms .room-label').allTextContents();
  }

  /** Waits until the list of rooms has these names: the page shows what it knows with its next frame. */
  async seesRooms(...names) {
    const shows = async () => String(await this.rooms()) === String(names);
    await until(shows, async () => `${names}, not ${await this.rooms()}`, DEADLINE_MS);
  }

  /** Waits until so many messages of a room are unread; `''`: none. */
  async seesUnread(room, count) {
    const badge = this.page.locator(`#rooms button[title="${room}"] .badge`);
    if (count === '') await badge.waitFor({ state: 'hidden' });
    else await badge.getByText(count, { exact: true }).waitFor();
  }

  /** Another window comes before this one. */
  looksAway() {
    return this.page.evaluate(() => {
      document.hasFocus = () => false;
      window.dispatchEvent(new Event('blur'));
    });
  }

  looksBack() {
    return this.page.evaluate(() => {
      document.hasFocus = () => true;
      window.dispatchEvent(new Event('focus'));
    });
  }

  /** Texts of all messages, in order. */
  messages() {
    return this.page.locator('li.message .body').allTextContents();
  }

  /** How far the page is wider than its window, in px. */
  overhang() {
    return this.page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  }

  async picture(name) {
    await this.page.screenshot({ path: join(pictures(), `${name}.png`) });
  }
}

/** Longest wait for anything on the page. */
export const DEADLINE_MS = 12_000;

/** The browser says so itself while the broker is down. */
export const BROKER_DOWN = /WebSocket connection to .* failed/;

/** The browser ends a process that it kept in reserve when it likes. */
function signal(id, name) {
  try {
    process.kill(id, name);
  } catch (error) {
    if (error.code !== 'ESRCH') throw error;
  }
}

function executable() {
  const names = [process.env.CHROMIUM, 'chromium', 'chromium-browser', 'google-chrome'].filter(Boolean);
  for (const name of names) {
    for (const folder of name.includes('/') ? [''] : (process.env.PATH ?? '').split(delimiter)) {
      const path = join(folder, name);
      try {
        accessSync(path, constants.X_OK);
        return path;
      } catch {
        // Not here.
      }
    }
  }
  throw new Error(`no browser: none of ${names.join(', ')} is installed`);
}
