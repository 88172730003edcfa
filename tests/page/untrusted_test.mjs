// Results that are odd, cut short or made to do harm.

import assert from 'node:assert/strict';
import {test} from 'node:test';
import {drop, pageOf, resultsOf, withFile} from './browser.mjs';

const HOSTILE = '</script><img src=x onerror=alert(1)><script>alert(2)' +
    '</script><!--<script> `<b>`';

// Puts `text` for every text of the results but those that name what is.
function everyText(value, text, key = '') {
  if (typeof value === 'string') {
    const kept = ['schema', 'tokens', 'scope', 'metric', 'phase'];
    return kept.includes(key) || /^-?(NaN|Infinity)$/.test(value) ? value
                                                                  : text;
  }
  if (Array.isArray(value)) return value.map(x => everyText(x, text, key));
  if (value === null || typeof value !== 'object') return value;
  return Object.fromEntries(Object.entries(value).map(
      ([name, x]) => [name, everyText(x, text, name)]));
}

// Puts what `next` returns for every figure that is no integer.
function everyNumber(value, next) {
  if (typeof value === 'number' && !Number.isInteger(value)) return next();
  if (Array.isArray(value)) return value.map(x => everyNumber(x, next));
  if (value === null || typeof value !== 'object') return value;
  return Object.fromEntries(Object.entries(value).map(
      ([name, x]) => [name, everyNumber(x, next)]));
}

function inTurn(values) {
  let i = 0;
  return () => values[i++ % values.length];
}

const opened = async page => {
  for (const summary of await page.locator('summary').all()) {
    await summary.click();
  }
  assert.ok(await page.locator('main section').count() > 1);
};

for (const name of ['sweep', 'attribute', 'diagnose', 'pair', 'recommend']) {
  test(`${name}: markup in names stays text`, () => withFile(
      pageOf(name, everyText(resultsOf(name), HOSTILE)), async page => {
    await opened(page);
    assert.equal(await page.locator('img, main script, main b').count() -
                 await page.locator('#error-table .legend b').count(), 0);
    assert.ok((await page.locator('header').textContent())
        .includes('<img src=x'));
    await drop(page, HOSTILE, JSON.stringify(
        everyText(resultsOf(name), HOSTILE)));
    assert.equal(await page.locator('img, main script').count(), 0);
  }));

  for (const values of [['NaN'], [null], ['Infinity', '-Infinity', 0]]) {
    test(`${name}: every figure is ${values.join(' or ')}`, () => withFile(
        pageOf(name, everyNumber(resultsOf(name), inTurn(values))), opened));
  }

  test(`${name}: every table is empty`, () => {
    const results = resultsOf(name);
    for (const table of Object.keys(results)) {
      if (Array.isArray(results[table])) results[table] = [];
      else if (typeof results[table] === 'object' && table !== 'context') {
        results[table] = null;
      }
    }
    return withFile(pageOf(name, results), opened);
  });

  test(`${name}: a run that was stopped says so`, () => {
    const results = resultsOf(name);
    results.context.stopped_by = 'Ctrl-C';
    results.context.stopped_in = 'the middle of it';
    return withFile(pageOf(name, results), async page => {
      assert.ok((await page.locator('header .banner').textContent()).startsWith(
          'Stopped by Ctrl-C: the middle of it'));
    });
  });
}

test('Not measured, NaN, 0 and no changed bit look different', () => {
  const results = resultsOf('attribute');
  const cells = results.cells.filter(c => c.changes_bits && c.layer > 0);
  Object.assign(cells[0], {complete: false, rel_l2: null});
  cells[1].rel_l2 = 'NaN';
  cells[2].rel_l2 = 0;
  cells[3].changes_bits = false;
  cells[4].rel_l2 = 'Infinity';
  return withFile(pageOf('attribute', results), async page => {
    const looks = [];
    for (const cell of cells.slice(0, 5)) {
      const rect = page.locator(
          `#cause-grid [data-cell="L${cell.layer}.${cell.op}"]`);
      looks.push(await rect.evaluate(r => `${getComputedStyle(r).fill} ${
          r.nextSibling && r.nextSibling.textContent}`));
      const label = await rect.getAttribute('aria-label');
      const text = ['not measured', 'NaN', ' 0', 'changes no bit', 'Infinity'][
          looks.length - 1];
      assert.ok(label.includes(text), label);
    }
    assert.equal(new Set(looks).size, 5, looks.join('\n'));
    assert.ok(looks[0].includes('url('), looks[0]);
    const legend = await page.locator('#cause-map .legend').textContent();
    for (const text of ['not measured', 'changes no bit', 'NaN or infinite']) {
      assert.ok(legend.includes(text), legend);
    }
  });
});

test('In tables too', () => {
  const results = resultsOf('sweep');
  results.plans[0].kl_nats = 'NaN';
  results.plans[1].kl_nats = null;
  results.plans[2].kl_nats = 0;
  return withFile(pageOf('sweep', results), async page => {
    const texts = await page.locator(
        '#ranking td[data-column=kl_nats]').allTextContents();
    assert.deepEqual(texts.slice(0, 3), ['NaN', '–', '0']);
    // Neither is best or worst, whichever way it is sorted.
    const head = page.locator('#ranking th button', {hasText: 'KL'});
    for (let i = 0; i < 2; ++i) {
      await head.click();
      const sorted = await page.locator(
          '#ranking td[data-column=kl_nats]').allTextContents();
      assert.deepEqual(sorted.slice(-2), ['NaN', '–']);
    }
  });
});
