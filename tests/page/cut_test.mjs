// Pages of results that are too large for one: what they say they lack.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import {test} from 'node:test';
import {cutPageOf, LEFT_OUT, resultsOf, withFile} from './browser.mjs';

// A table of each, and the section whose figure it is.
for (const [name, table, section] of [
  ['sweep', 'layers', 'curves'], ['attribute', 'cells', 'cause-map'],
  ['attribute', 'repairs', 'repair-map'], ['diagnose', 'points', 'points'],
  ['pair', 'pair_points', 'pair'], ['recommend', 'strategies', 'strategies']]) {
  const all = resultsOf(name)[table].length;

  test(`${name}: without rows of ${table} it says so`, () => withFile(
      cutPageOf(name, {[table]: 1}), async page => {
    assert.equal(await page.locator('header .banner').textContent(),
                 LEFT_OUT.replaceAll('`', ''));
    assert.ok((await page.locator(`#${section} .cut`).first().textContent())
        .includes(`here are 1 of ${all} rows`));
    assert.equal(await page.locator(`#table-${table} summary`).textContent(),
                 `${table} (1 of ${all})`);
    const [download] = await Promise.all(
        [page.waitForEvent('download'), page.click('#save')]);
    assert.equal(download.suggestedFilename(), 'results_part.json');
    const saved = JSON.parse(fs.readFileSync(await download.path(), 'utf8'));
    assert.deepEqual(saved.part_of, {[table]: all});
    assert.equal(saved[table].length, 1);
  }));

  test(`${name}: without any row of ${table} it is not gone`, () => withFile(
      cutPageOf(name, {[table]: 0}), async page => {
    const details = page.locator(`#table-${table}`);
    assert.equal(await details.locator('summary').textContent(),
                 `${table} (0 of ${all})`);
    await details.locator('summary').click();
    assert.ok((await details.locator('.cut').textContent())
        .includes(`0 of ${all}`));
  }));
}

test('A page that has all rows says nothing of this', () => withFile(
    cutPageOf('sweep', {}, {}), async page => {
  assert.equal(await page.locator('.cut').count(), 0);
}));

// What is said of all plans is not taken from those that are left.
test('A verdict is of all plans, or not given', () => {
  const {plans} = resultsOf('sweep');
  const all = {
    plans: plans.length, measured: plans.length, timed: 77, front: 55,
    fastest: plans[1].plan, not_timed: {emulated: 33},
    left_out: [{first_rank: 2, last_rank: plans.length,
                plans: plans.length - 1, timed: 22, least_score: 1,
                median_score: 2, largest_score: 3}]};
  return withFile(cutPageOf('sweep', {plans: 1, main_effects: 1},
                            {all_plans: all}), async page => {
    const verdict = await page.locator('#verdict').textContent();
    assert.ok(verdict.includes(`most accurate plan is ${plans[0].plan}:`));
    assert.ok(verdict.includes('55 of 77 plans are on the Pareto front'));
    assert.ok(verdict.includes(`33 of ${plans.length} plans are not timed`));
    for (const none of ['fastest', 'least accurate', 'Of all factors']) {
      assert.ok(!verdict.includes(none), verdict);
    }
    const cells = await page.locator('#left-out-plans tbody td')
        .allTextContents();
    assert.deepEqual(cells.slice(0, 2), [String(plans.length - 1), '22']);
    assert.ok(!(await page.locator('#ranking').textContent())
        .includes('none of them is timed'));
    assert.ok((await page.locator('#pareto .said').textContent())
        .includes(`Here are 1 of ${plans.length} plans`));
  });
});
