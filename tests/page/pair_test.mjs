import assert from 'node:assert/strict';
import {test} from 'node:test';
import {assertShows, pageOf, resultsOf, withFile, withReport}
    from './browser.mjs';

const {pair, pair_difference: difference, pair_points: points,
       pair_states: states} = resultsOf('pair');
const on = body => () => withReport('pair', body);

test('Points at which a trace adds something are flagged', on(async page => {
  const flagged = await page.locator('#pair-grid .cell.flagged').evaluateAll(
      rects => rects.map(rect => rect.dataset.cell));
  const added = new Set(points.filter(p => p.origin.startsWith('added_by'))
      .map(p => `L${p.layer}.${p.op}`));
  assert.deepEqual(flagged.sort(), [...added].sort());
}));

test('A point says its figures', on(async page => {
  const point = points.find(p => p.distance > 0);
  await page.locator(
      `#pair-grid [data-cell="L${point.layer}.${point.op}"]`).focus();
  const said = await page.locator('#pair .said').textContent();
  assertShows(said.split('distance')[1], point.distance);
  assertShows(said.split('inherited')[1], point.inherited);
  assertShows(said.split('A adds')[1], point.added_a);
  assertShows(said.split('B adds')[1], point.added_b);
}));

test('Where the difference begins has its figures', on(async page => {
  const point = points[difference.point];
  const text = await page.locator('#difference').textContent();
  assert.ok(text.includes(point.op), text);
  const value = name => page.locator(
      `#difference [data-column=${name}]`).textContent();
  assertShows(await value('value_a'), difference.value_a);
  assertShows(await value('positions_differing'),
              difference.positions_differing);
  await page.locator('#difference summary').click();
  assert.equal(await value('arithmetic_a'), pair.arithmetic_a);
}));

test('Distances to the oracle are said, state by state', on(async page => {
  await page.locator('#pair-states svg[role=application]').focus();
  for (const state of states) {
    const said = await page.locator('#pair-states .said').textContent();
    assertShows(said.split('distance')[1], state.a_to_oracle);
    await page.keyboard.press('ArrowRight');
  }
}));

test('Of several outputs of an op the worst is shown, but not what is not ' +
     'measured', async () => {
  const worst = async (figure, values) => {
    const results = resultsOf('pair');
    const point = results.pair_points.find(p => p.distance > 0);
    const others = values.map((value, i) => ({
      ...structuredClone(point), name_a: `a${i}`, [figure]: value}));
    results.pair_points = results.pair_points.filter(p => p !== point);
    results.pair_points.push(...others);
    let found;
    await withFile(pageOf('pair', results), async page => {
      await page.locator('#pair select').first().selectOption(figure);
      const cell = page.locator(
          `#pair-grid [data-cell="L${point.layer}.${point.op}"]`);
      const fill = () => cell.evaluate(rect => rect.getAttribute('class') +
          rect.dataset.kind + rect.getAttribute('fill'));
      found = await fill();
    });
    return found;
  };
  const large = await worst('distance', [0.5]);
  for (const values of [[0.5, null], [null, 0.5], [0.5, 1e-3], [1e-3, 0.5]]) {
    assert.equal(await worst('distance', values), large, values);
  }
  assert.ok((await worst('distance', ['NaN', 0.5])).includes('not-finite'));
  assert.ok((await worst('distance', [0.5, 'NaN'])).includes('not-finite'));
  // Fewer of the same bits are worse.
  const few = await worst('identical', [0.25]);
  assert.equal(await worst('identical', [0.25, 0.75]), few);
  assert.equal(await worst('identical', [0.75, 0.25]), few);
});
