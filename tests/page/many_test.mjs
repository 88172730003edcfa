// The page of more plans than it holds.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import {test} from 'node:test';
import {assertShows, reports, resultsOf, withReport} from './browser.mjs';

const results = resultsOf('many');
const on = body => () => withReport('many', body);
const held = page => page.evaluate(
    () => JSON.parse(document.getElementById('results').textContent));

test('It has at most 8 MB, and says what it lacks', on(async page => {
  const {size} = fs.statSync(path.join(reports, 'many', 'report.html'));
  assert.ok(size <= 8e6, size);
  const {layers} = await held(page);
  assert.ok(layers.length < results.layers.length);
  const count = results.plans.length;
  const banner = await page.locator('header .banner').textContent();
  assert.ok(banner.includes(`all ${count} plans`), banner);
  const cut = await page.locator('#curves > .cut').textContent();
  assert.ok(cut.includes(`${layers.length} of ${results.layers.length} rows`),
            cut);
  assert.ok((await page.locator('header').textContent())
      .includes(`${count} plans are`));
  const timed = results.plans.filter(p => p.decode_tokens_per_second !== null);
  const front = timed.filter(p => p.pareto);
  const verdict = await page.locator('#verdict').textContent();
  assert.ok(verdict.includes(
      `${front.length} of ${timed.length} plans are on the Pareto`), verdict);
  const fastest = timed.reduce((a, b) => b.decode_tokens_per_second >
      a.decode_tokens_per_second ? b : a);
  for (const plan of [results.plans[0], fastest, results.plans[count - 1]]) {
    assert.ok(verdict.includes(plan.plan), plan.plan);
  }
  const others = results.plans.filter(p => p.not_timed === 'not chosen').length;
  assert.ok(verdict.includes(
      `${others} of ${count} plans are not timed: not chosen`), verdict);
}));

test('Every plan is in the ranking or counted below it', on(async page => {
  const {plans} = await held(page);
  const counts = await page.locator('#left-out-plans tbody tr').evaluateAll(
      rows => rows.map(row => Number(row.children[1].textContent)));
  assert.equal(counts.reduce((a, b) => a + b, plans.length),
               results.plans.length);
  for (const plan of results.plans) {
    if (plan.decode_tokens_per_second === null && !plan.pareto) continue;
    assert.ok(plans.some(p => p.plan === plan.plan), plan.plan);
  }
}));

test('It is drawn and filtered within a second', on(async page => {
  const points = page.locator('#pareto circle[data-plan]');
  assert.equal(await points.count(), results.plans.filter(
      p => p.decode_tokens_per_second !== null).length);
  const spent = await page.evaluate(() => {
    const start = performance.now();
    render();
    return performance.now() - start;
  });
  assert.ok(spent < 1000, spent);
  const worst = results.plans[results.plans.length - 1];
  await page.locator('#ranking input[type=search]').fill(worst.plan);
  const row = page.locator('#ranking tbody tr').first();
  assertShows(await row.locator('[data-column=final_rel_l2]').textContent(),
              worst.final_rel_l2);
  await row.click();
  assert.ok(await page.locator(
      `#curves path[data-series="${worst.plan}"]`).count() === 1);
}));

test('Saved is a part, which says so', on(async page => {
  const [download] = await Promise.all(
      [page.waitForEvent('download'), page.click('#save')]);
  assert.equal(download.suggestedFilename(), 'results_part.json');
  const saved = JSON.parse(fs.readFileSync(await download.path(), 'utf8'));
  assert.equal(saved.part_of.layers, results.layers.length);
  assert.equal(saved.part_of.main_effects, undefined);
  delete saved.part_of;
  assert.deepEqual(saved, await held(page));
}));
