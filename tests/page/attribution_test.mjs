import assert from 'node:assert/strict';
import {test} from 'node:test';
import {assertShows, pageOf, resultsOf, withFile, withReport}
    from './browser.mjs';

for (const name of ['attribute', 'seed']) {
  const {cells, repairs, cause_sum: sum} = resultsOf(name);
  const by_cell = repairs.filter(r => r.scope === 'cell');
  const on = (body, options) => () => withReport(name, body, options);
  const find = (page, map, cell) => page.locator(
      `#${map}-grid [data-cell="L${cell.layer}.${cell.op}"]`);
  const chosen = cells.filter(c => c.changes_bits && c.layer > 1)[5];

  test(`${name}: a cell for each of results.json, grey if it changes no bit`,
       on(async page => {
    for (const [map, rows, unchanged] of [
      ['cause', cells, c => !c.changes_bits],
      ['repair', by_cell, r => r.moved === 0 && r.logits_moved === 0]]) {
      const kinds = new Map(await page.locator(
          `#${map}-grid .cell[data-cell]`).evaluateAll(rects => rects.map(
          rect => [rect.dataset.cell, rect.dataset.kind])));
      assert.equal(kinds.size, rows.length);
      for (const row of rows) {
        assert.equal(kinds.get(`L${row.layer}.${row.op}`),
                     unchanged(row) ? 'no-bits' : 'value');
      }
    }
  }));

  test(`${name}: a cell's figure is said where it is pointed at, in any metric`,
       on(async page => {
    for (const figure of ['rel_l2', 'kl_nats', 'share', 'logits_rel_l2']) {
      await page.locator('#cause-map select').first().selectOption(figure);
      await find(page, 'cause', chosen).hover();
      const tip = await page.locator('#tip').textContent();
      assert.ok(tip.includes(`layer ${chosen.layer}, ${chosen.op}`), tip);
      assertShows(tip.split(chosen.op)[1], chosen[figure]);
    }
  }));

  test(`${name}: a click keeps a cell and draws its curve`, on(async page => {
    await find(page, 'cause', chosen).click();
    assert.equal(await page.locator('#kept h3').textContent(),
                 `Layer ${chosen.layer}, ${chosen.op}`);
    assert.equal(new URL(page.url()).hash, `#L${chosen.layer}.${chosen.op}`);
    assert.equal(await find(page, 'repair', chosen).getAttribute(
        'aria-selected'), 'true');
    const picture = page.locator('#kept svg[role=application]');
    await picture.focus();
    await page.keyboard.press('ArrowDown');  // from the plan's to the cell's
    for (const x of chosen.layers_rel_l2) {
      const said = await page.locator('#kept .said').textContent();
      assert.ok(said.includes('the cell alone'), said);
      assertShows(said.split('L2')[1], x);
      await page.keyboard.press('ArrowRight');
    }
  }));

  test(`${name}: arrow keys move over the map, Enter keeps`, on(async page => {
    const start = find(page, 'cause', {layer: 2, op: 'swiglu'});
    await start.focus();
    await page.keyboard.press('ArrowRight');
    await page.keyboard.press('ArrowUp');
    assert.equal(await page.evaluate(
        () => document.activeElement.dataset.cell), 'L3.up_proj');
    const row = cells.find(c => c.layer === 3 && c.op === 'up_proj');
    assertShows((await page.locator('#cause-map .said').textContent())
        .split('up_proj')[1], row.rel_l2);
    await page.keyboard.press('Enter');
    assert.equal(await page.locator('#kept h3').textContent(),
                 'Layer 3, up_proj');
    assert.equal(await page.locator('#cause-grid [tabindex="0"]').count(), 1);
  }));

  test(`${name}: an address leads to a cell`, on(async page => {
    assert.equal(await page.locator('#kept h3').textContent(),
                 'Layer 3, mlp_residual');
    assert.equal(await page.evaluate(
        () => document.activeElement.dataset.cell), 'L3.mlp_residual');
  }, {hash: '#L3.mlp_residual'}));

  test(`${name}: colours are logarithmic or linear`, on(async page => {
    const cell = find(page, 'cause', chosen);
    const fill = () => cell.getAttribute('fill');
    const before = await fill();
    await page.locator('#cause-map select').nth(1).selectOption('linear');
    assert.notEqual(await fill(), before);
    await page.locator('#cause-map select').nth(1).selectOption('log');
    assert.equal(await fill(), before);
  }));

  test(`${name}: the same cells are a table`, on(async page => {
    await page.locator('#cause-map summary').click();
    const texts = await page.locator(
        '#cause-map td[data-column="rel_l2"]').allTextContents();
    for (const [i, cell] of cells.slice(0, 200).entries()) {
      assertShows(texts[i], cell.rel_l2);
    }
  }));

  test(`${name}: the cells' sum is there`, on(async page => {
    await page.locator('#table-cause_sum summary').click();
    assertShows(await page.locator('#table-cause_sum tbody').textContent(),
                sum.cosine);
  }));
}

for (const name of ['attribute', 'against', 'seed']) {
  const results = resultsOf(name);
  const {effect, sets, set_groups: groups, luck, luck_runs: runs, mechanisms,
         positions, truth} = results;
  const on = body => () => withReport(name, body);
  const texts = (page, table, column) => page.locator(
      `table[data-table="${table}"] td[data-column="${column}"]`)
      .allTextContents();

  test(`${name}: sets say what they leave, and are outlined`, on(
      async page => {
    if (sets.length + groups.length === 0) {
      assert.equal(await page.locator('#sets').count(), 0);
      return;
    }
    const left = await texts(page, 'sets', 'left');
    assert.equal(left.length, sets.length);
    sets.forEach((set, i) => assertShows(left[i], set.rel_l2 / effect.rel_l2));
    const smallest = sets.find(set => set.set === 'smallest');
    const flagged = await page.locator('#cause-grid .cell.flagged').count();
    assert.equal(flagged > 0, smallest !== undefined);
    if (smallest !== undefined) assert.equal(flagged, smallest.cells);
    await page.locator('#sets summary', {hasText: 'groups'}).click();
    await page.locator('#sets table[data-table="set_groups"]').waitFor();
    assert.deepEqual(await texts(page, 'set_groups', 'group'),
                     groups.map(group => group.group));
  }));

  test(`${name}: whether it is luck has its interval`, on(async page => {
    if (luck === null) {
      assert.equal(await page.locator('#luck').count(), 0);
      return;
    }
    const said = await page.locator('#luck').textContent();
    assert.ok(said.startsWith({true: 'It is not luck', false: 'It may be luck'}[
        luck.distinguishable] ?? 'Whether it is luck was not measured'), said);
    for (const x of [luck.left, luck.left_low, luck.left_high]) {
      if (x !== null) assertShows(said, x);
    }
    assert.equal(await page.locator('#luck circle.point').count(),
                 luck.left_low === null ? 0 : runs.length);
  }));

  test(`${name}: mechanisms, positions and the truth are shown`, on(
      async page => {
    assert.deepEqual(await texts(page, 'mechanisms', 'kind'),
                     mechanisms.map(m => m.kind));
    if (positions.length > 1) {
      const most = positions.reduce((a, b) => a.kl_share > b.kl_share ? a : b);
      assertShows((await texts(page, 'positions', 'kl_share'))[0],
                  most.kl_share);
    }
    assert.deepEqual(await texts(page, 'truth', 'whose'),
                     truth.map(row => row.whose));
  }));
}

test('Luck that was not measured is neither, and no share is NaN', () => {
  const results = resultsOf('against');
  Object.assign(results.luck, {left: null, left_low: null, left_high: null,
                               distinguishable: null});
  results.sets[0].rel_l2 = null;
  return withFile(pageOf('against', results), async page => {
    assert.equal(await page.locator('#luck h3').textContent(),
                 'Whether it is luck was not measured');
    assert.equal(await page.locator('#luck figure').count(), 0);
    assert.equal(await page.locator(
        'table[data-table="sets"] td[data-column="left"]').first()
        .textContent(), '–');
  });
});
