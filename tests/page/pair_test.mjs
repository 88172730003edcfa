import assert from 'node:assert/strict';
import {test} from 'node:test';
import {assertShows, resultsOf, withReport} from './browser.mjs';

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
