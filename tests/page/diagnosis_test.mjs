import assert from 'node:assert/strict';
import {test} from 'node:test';
import {assertShows, columnTexts, pageOf, resultsOf, withFile, withReport}
    from './browser.mjs';

for (const name of ['diagnose', 'diagnose_bugs']) {
  const results = resultsOf(name);
  const {points, error_table: rows, states, causes} = results;
  const on = body => () => withReport(name, body);

  test(`${name}: points that differ are flagged`, on(async page => {
    const flagged = await page.locator('#points-grid .cell.flagged')
        .evaluateAll(rects => rects.map(rect => rect.dataset.cell));
    const differing = new Set(points.filter(p => p.differs)
        .map(p => `L${p.layer}.${p.op}`));
    assert.deepEqual(flagged.sort(), [...differing].sort());
  }));

  test(`${name}: a point says its figures`, on(async page => {
    const point = points.find(p => p.differs) || points[2];
    const cell = page.locator(
        `#points-grid [data-cell="L${point.layer}.${point.op}"]`);
    await cell.focus();
    const said = await page.locator('#points .said').textContent();
    assertShows(said.split('distance')[1], point.distance);
    assertShows(said.split('allowed')[1], point.allowed);
    await page.locator('#points select').first().selectOption('identical');
    assert.ok((await cell.getAttribute('aria-label')).includes('Same bits'));
    await page.keyboard.press('ArrowDown');
  }));

  test(`${name}: the error table has its shares`, on(async page => {
    const from = await columnTexts(page, 'error-table', 'comes_from');
    assert.deepEqual(from, rows.map(r => r.comes_from));
    for (const row of rows) {
      const bar = page.locator(`#error-table [data-layer="${row.layer}"]`);
      const shares = ['comparison', 'rounding', 'difference', 'own',
                      'inherited', 'cancellation'].map(n => `share_${n}`);
      const drawn = await bar.locator('rect').evaluateAll(
          rects => rects.map(rect => [rect.dataset.share,
                                      rect.height.baseVal.value]));
      const heights = new Map(drawn);
      const whole = drawn.reduce((sum, [, height]) => sum + height, 0);
      for (const share of shares) {
        if (row[share] === null || row[share] < 0 || whole === 0) continue;
        assert.ok(Math.abs((heights.get(share) || 0) / whole - row[share]) <
                  0.02, `${row.layer} ${share}`);
      }
    }
  }));

  test(`${name}: who is right, state by state`, on(async page => {
    await page.locator('#states svg[role=application]').focus();
    for (const state of states) {
      const said = await page.locator('#states .said').textContent();
      assertShows(said.split('distance')[1], state.trace_to_oracle);
      await page.keyboard.press('ArrowRight');
    }
  }));

  test(`${name}: causes have their names and advice`, on(async page => {
    assert.deepEqual(await columnTexts(page, 'causes', 'id'),
                     causes.map(c => c.id));
    assert.deepEqual(await columnTexts(page, 'causes', 'advice'),
                     causes.map(c => c.advice));
  }));
}

for (const name of ['diagnose', 'diagnose_bugs']) {
  const {descriptions, not_finite: first} = resultsOf(name);
  test(`${name}: differences have their descriptions`, () => withReport(
      name, async page => {
    const cards = page.locator('#descriptions [data-point]');
    assert.equal(await cards.count(), descriptions.length);
    for (const [i, row] of descriptions.entries()) {
      const value = column => cards.nth(i).locator(`[data-column=${column}]`)
          .first().textContent();
      assert.equal(await value('status'), row.status);
      if (row.positions_that_differ) {
        assert.equal(await value('positions_that_differ'),
                     row.positions_that_differ);
      }
      if (row.cosine !== null) assertShows(await value('cosine'), row.cosine);
    }
    assert.equal(await page.locator('#not-finite [data-whose]').count(),
                 first.length);
  }));
}

test('The first values that are not finite have their reason', () => {
  const results = structuredClone(resultsOf('diagnose_bugs'));
  const row = Object.fromEntries(Object.keys(results.descriptions[0] || {})
      .map(key => [key, null]));
  results.not_finite = [{
    ...row, whose: 'trace', place: 'op down_proj of layer 2', layer: 2,
    op: 'down_proj', because: 'f16 ends at 65504', nonfinite: 3, nan: 0,
    elements: 512, positions_nonfinite: '0', magnitude: 70000, largest: 65504}];
  return withFile(pageOf('diagnose_bugs', results), async page => {
    const text = await page.locator('#not-finite [data-whose=trace]')
        .textContent();
    for (const part of ['The trace', 'f16 ends at 65504', 'down_proj']) {
      assert.ok(text.includes(part), text);
    }
  });
});
