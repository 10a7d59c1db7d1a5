// A tab that the browser has frozen runs no timer and sends no heart-beat; the session must outlive that.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Broker } from '../broker.mjs';
import { freeze, launch, Person } from './person.mjs';

/** Longer than twice the heart-beat, the ping and its answer together. */
const FROZEN_MS = 65_000;

let cold;
let warm;
let broker;
before(async () => {
  [cold, warm, broker] = await Promise.all([launch(), launch(), Broker.start()]);
});
after(async () => {
  await Promise.all([cold?.close(), warm?.close()]);
  await broker?.stop();
});

test('a page frozen for more than a minute stays connected', async (t) => {
  let thaw = () => {};
  // Before the windows are closed, for which a stopped page would never be ready.
  t.after(() => thaw());
  const alice = await Person.join(t, cold, broker, 'alice', 'winter');
  const bob = await Person.join(t, warm, broker, 'bob', 'winter');
  await alice.seesMembers('alice', 'bob');
  await alice.page.evaluate(() => {
    window.ticks = 0;
    setInterval(() => (window.ticks += 1), 100);
    window.states = [];
    const status = document.getElementById('status');
    new MutationObserver(() => window.states.push(status.dataset.is)).observe(status, { attributes: true });
  });
  const ticks = () => alice.page.evaluate(() => window.ticks);

  const before = await ticks();
  thaw = await freeze(cold);
  await new Promise((resume) => setTimeout(resume, FROZEN_MS));
  await bob.say('are you there?');
  await bob.sees('are you there?');
  await bob.seesMembers('alice', 'bob');
  assert.equal(await bob.page.getByText('alice left').count(), 0);

  thaw();
  await alice.sees('are you there?');
  await alice.say('always was');
  await bob.sees('always was');
  assert.deepEqual(await alice.page.evaluate(() => window.states), []);
  const ticked = (await ticks()) - before;
  assert.ok(ticked < FROZEN_MS / 100 / 2, `the page was not frozen: its timer ran ${ticked} times`);
});
