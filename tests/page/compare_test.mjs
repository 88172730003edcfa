import assert from 'node:assert/strict';
import {test} from 'node:test';
import {assertShows, cutPageOf, drop, resultsOf, resultsText, withFile,
        withReport} from './browser.mjs';

const said = page => page.locator('#comparison .said').textContent();

test('A copy differs in nothing', () => withReport('sweep', async page => {
  await drop(page, 'copy.json', resultsText('sweep'));
  const {plans} = resultsOf('sweep');
  assert.ok((await said(page)).startsWith(
      `0 of ${plans.length} differ by more than 0 %, ${plans.length} are`));
  assert.equal(await page.locator('#comparison tbody tr').count(), 0);
  await page.getByLabel('hide equal').uncheck();
  assert.equal(await page.locator('#comparison tbody tr').count(),
               plans.length);
}));

test('Ratios, the tolerance and plans of one file alone', () => withReport(
    'sweep', async page => {
  const other = resultsOf('sweep'), count = other.plans.length;
  other.plans[0].score *= 2;
  other.plans[1].score *= 1.01;
  const gone = other.plans.pop();
  await drop(page, 'other.json', JSON.stringify(other));
  await page.locator('#comparison select').nth(1).selectOption('score');
  assert.match(await said(page), new RegExp(
      `^2 of ${count} differ by more than 0 %, ${count - 3} are equal; 1 are ` +
      `only in this report, 0 only in other.json`));
  const row = page.locator('#comparison tbody tr', {hasText: '0.500×'});
  assert.equal(await row.locator('[data-column=plan]').textContent(),
               other.plans[0].plan);
  assertShows(await row.locator('[data-column=theirs]').textContent(),
              other.plans[0].score);
  await page.getByLabel('tolerance (%)').fill('5');
  assert.match(await said(page), /^1 of .* differ by more than 5 %/);
  const slider = page.getByRole('slider', {name: 'tolerance'});
  assert.equal(await slider.getAttribute('aria-valuetext'), '5 %');
  await slider.press('Home');
  assert.match(await said(page), /^2 of .* differ by more than 0 %/);
  await slider.press('End');
  assert.match(await said(page), /^0 of .* differ by more than 1000 %/);
  assert.equal(await page.getByLabel('tolerance (%)').inputValue(), '1000');
  assert.equal(await page.locator('#comparison tbody tr',
                                  {hasText: gone.plan}).count() > 0, true);
  assert.equal(await page.locator('#pareto .point.base').count(), count - 1);
  await page.getByText('Stop comparing').click();
  assert.equal(await page.locator('#comparison').count(), 0);
}));

test('A map shows ratios and hides what is equal', () => withReport(
    'attribute', async page => {
  const other = resultsOf('attribute');
  const cell = other.cells.find(c => c.changes_bits && c.rel_l2 > 0);
  cell.rel_l2 /= 4;
  await drop(page, 'other.json', JSON.stringify(other));
  await page.getByLabel('ratio to other.json').first().check();
  const kinds = await page.locator('#cause-grid .cell[data-cell]').evaluateAll(
      rects => rects.filter(r => r.dataset.kind === 'value')
          .map(r => [r.dataset.cell, r.ariaLabel]));
  assert.equal(kinds.length, 1);
  assert.equal(kinds[0][0], `L${cell.layer}.${cell.op}`);
  assert.ok(kinds[0][1].includes('4 times'), kinds[0][1]);
}));

test('A diagnosis is compared point by point', () => withReport(
    'diagnose_bugs', async page => {
  const other = resultsOf('diagnose_bugs');
  other.points[0].distance = 'NaN';
  other.points[1].distance = null;
  await drop(page, 'other.json', JSON.stringify(other));
  assert.match(await said(page), /^2 of /);
}));

test('What makes two runs others is said', async () => {
  for (const [name, other] of [
    ['sweep', {metric: 'kl', against: 'f32'}],
    ['attribute', {against: 'f32'}],
    ['recommend', {budget: 'kl<=1', phase: 'prefill'}],
    ['pair', {against_trace: 'another'}]]) {
    const results = resultsOf(name);
    Object.assign(results.context, other);
    await withReport(name, async page => {
      await drop(page, 'other.json', JSON.stringify(results));
      const banner = await page.locator('#comparison .banner').textContent();
      for (const key of Object.keys(other)) {
        assert.ok(banner.includes(key), `${banner} ${key}`);
      }
    });
  }
});

test('Of a page that lacks rows nothing is said to be in one file alone', () =>
    withFile(cutPageOf('sweep', {plans: 2}), async page => {
  const {plans} = resultsOf('sweep');
  await drop(page, 'all.json', resultsText('sweep'));
  assert.match(await said(page), new RegExp(
      '^0 of 2 differ by more than 0 %, 2 are equal; 0 are only in this ' +
      `report\\. ${plans.length - 2} rows are not compared: this page may`));
}));

test('Nor of a part that such a page saved', () => withReport(
    'sweep', async page => {
  const part = resultsOf('sweep'), count = part.plans.length;
  part.plans.length = 3;
  part.part_of = {plans: count};
  await drop(page, 'part.json', JSON.stringify(part));
  assert.match(await said(page), new RegExp(
      '^0 of 3 differ by more than 0 %, 3 are equal; 0 only in part.json\\. ' +
      `${count - 3} rows are not compared: part.json may`));
}));

test('A file that cannot be compared is refused in a sentence', () =>
    withReport('sweep', async page => {
  const with_ = change => {
    const results = resultsOf('sweep');
    change(results);
    return JSON.stringify(results);
  };
  for (const [text, why] of [
    ['garbage', /x\.json cannot be compared: it is not JSON/],
    ['null', /no results.json of ulpscope/],
    ['{"plans": []}', /no results.json of ulpscope/],
    [resultsText('attribute'), /another mode, attribute/],
    [with_(r => r.version = 1), /version 1, this page's of version 2/],
    [with_(r => delete r.layers), /no "layers"/],
    [with_(r => r.part_of = {plans: 'many'}), /"part_of" does not say/],
    [with_(r => r.plans[2] = 7), /"plans" has a row/],
    [with_(r => delete r.plans[2].rank), /"plans" has a row whose "rank"/],
    [with_(r => r.layers[9].rel_l2 = {}), /"layers" has a row whose "rel_l2"/],
    [with_(r => r.plans[1].plan = ['<b>']), /whose "plan" is no text/],
  ]) {
    await drop(page, 'x.json', text);
    await page.waitForFunction(pattern => new RegExp(pattern).test(
        document.querySelector('[role=alert]').textContent), why.source);
    assert.equal(await page.locator('#comparison').count(), 0);
  }
}));

test('A file is chosen by keyboard as well', () => withReport(
    'sweep', async page => {
  await page.setInputFiles('#other', {
    name: 'chosen.json', mimeType: 'application/json',
    buffer: Buffer.from(resultsText('sweep'))});
  await page.waitForSelector('#comparison');
}));
