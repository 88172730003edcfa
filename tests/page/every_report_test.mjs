// What holds for the page of any report.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import {createRequire} from 'node:module';
import {test} from 'node:test';
import {ALL, resultsOf, resultsText, withReport} from './browser.mjs';

const axe = fs.readFileSync(
    createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

for (const name of ALL) {
  test(`${name}: says what it is of`, () => withReport(name, async page => {
    const {context, sentences = []} = resultsOf(name);
    const head = await page.locator('header').textContent();
    assert.ok(head.includes(context.cpu));
    assert.equal(head.includes('SYNTHETIC'), context.synthetic);
    const verdict = page.locator('#verdict li');
    if (sentences.length > 0) {
      assert.equal(await verdict.count(), sentences.length);
    }
    for (const [i, {text}] of sentences.entries()) {
      const shown = await verdict.nth(i).textContent();
      assert.ok(shown.startsWith(text.replaceAll('`', '')), shown);
    }
    assert.ok(await verdict.count() > 0);
    for (const link of await page.locator('#verdict a, nav a').all()) {
      const target = await link.getAttribute('href');
      const selector = target.startsWith('#L')
          ? `[data-cell="${target.slice(1)}"]` : target;
      assert.ok(await page.locator(selector).count() > 0, target);
    }
  }));

  // The seed model's is an attribution as well.
  for (const scheme of name === 'seed' ? ['light'] : ['light', 'dark']) {
    test(`${name}: axe finds nothing serious when it is ${scheme}`,
         () => withReport(name, async page => {
      // One of the many tables of all figures stands for the others.
      for (const summary of await page.locator(
          'section:not(#tables) summary, #table-context summary').all()) {
        await summary.click();
      }
      await page.evaluate(axe);
      const {violations} = await page.evaluate(
          "axe.run({resultTypes: ['violations']})");
      assert.deepEqual(
          violations.filter(v => ['serious', 'critical'].includes(v.impact))
              .map(v => `${v.id}: ${v.nodes[0].html}`), []);
    }, {scheme}));
  }

  test(`${name}: saves results.json as it is`, () => withReport(
      name, async page => {
    const [download] = await Promise.all(
        [page.waitForEvent('download'), page.click('#save')]);
    assert.equal(download.suggestedFilename(), 'results.json');
    assert.equal(fs.readFileSync(await download.path(), 'utf8'),
                 resultsText(name));
  }));

  test(`${name}: shows every table of results.json`, () => withReport(
      name, async page => {
    for (const [table, rows] of Object.entries(resultsOf(name))) {
      if (!Array.isArray(rows) || rows.length === 0) continue;
      const details = page.locator(`#table-${table}`);
      await details.locator('summary').click();
      await details.locator('table').waitFor();
      assert.equal(await details.locator('tbody tr').count(),
                   Math.min(rows.length, 200), table);
      await details.locator('summary').click();
    }
  }));

  test(`${name}: prints`, () => withReport(name, async page => {
    assert.ok((await page.pdf()).length > 10000);
  }));

  test(`${name}: stays inside a narrow window`, () => withReport(
      name, async page => {
    for (const width of [800, 400]) {
      await page.setViewportSize({width, height: 900});
      assert.ok(await page.evaluate(
          () => document.documentElement.scrollWidth) <= width, width);
    }
    for (const control of await page.locator('.controls select').all()) {
      const {x, width} = await control.boundingBox();
      assert.ok(x + width <= 400 - 20, x + width);  // the body's padding
    }
    // Its figures scroll rather than shrink until nothing can be read.
    for (const svg of await page.locator('.scroll > svg').all()) {
      assert.ok(await svg.evaluate(
          x => x.getBoundingClientRect().width >= x.getAttribute('width')));
    }
  }));
}
