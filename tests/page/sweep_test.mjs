import assert from 'node:assert/strict';
import {test} from 'node:test';
import {assertShows, columnTexts, pageOf, resultsOf, withFile, withReport}
    from './browser.mjs';

const results = resultsOf('sweep');
const {plans, layers} = results;
const on = body => () => withReport('sweep', body);

test('A point a plan, with its figures where it is pointed at', on(
    async page => {
  const points = page.locator('#pareto circle[data-plan]');
  assert.equal(await points.count(), plans.length);
  for (const plan of [plans[0], plans.find(p => !p.pareto)]) {
    const point = page.locator(`circle[data-plan="${plan.plan}"]`);
    await point.hover({force: true});
    await point.dispatchEvent('pointermove');
    const tip = await page.locator('#tip').textContent();
    assert.ok(tip.includes(plan.plan));
    assertShows(tip, plan.decode_tokens_per_second);
    assertShows(tip, plan.decode_tokens_per_second_half_iqr);
    assertShows(tip, plan.score);
    assert.equal(/pareto/.test(await point.getAttribute('class')), plan.pareto);
  }
  assert.equal(await page.locator('#pareto .error-bar').count(), plans.length);
}));

test('A chosen plan is marked, drawn and in the address', on(async page => {
  const plan = plans[plans.length - 2];
  await page.locator('#curves fieldset').getByText('none').click();
  await page.locator(`circle[data-plan="${plan.plan}"]`).focus();
  await page.keyboard.press('Enter');
  const row = page.locator('#ranking tr.chosen');
  assert.equal(await row.locator('[data-column=plan]').textContent(),
               plan.plan);
  assert.deepEqual(await page.locator('#curves path.series').evaluateAll(
      paths => paths.map(path => path.dataset.series)), [plan.plan]);
  assert.equal(decodeURIComponent(new URL(page.url()).hash),
               `#plan=${plan.plan}`);
}));

test('Arrow keys go from point to point', on(async page => {
  const focused = () => page.evaluate(
      () => document.activeElement.dataset.plan);
  await page.locator('#pareto circle[tabindex="0"]').focus();
  const first = await focused();
  await page.keyboard.press('ArrowRight');
  const second = await focused();
  assert.notEqual(first, second);
  assert.ok((await page.locator('#pareto .said').textContent())
      .includes(second));
  await page.keyboard.press('ArrowLeft');
  assert.equal(await focused(), first);
}));

test('The ranking is sorted by a click on a head', on(async page => {
  assert.deepEqual(await columnTexts(page, 'ranking', 'plan'),
                   plans.map(p => p.plan));
  const head = page.locator('#ranking th button', {hasText: 'KL'});
  await head.click();
  const up = [...plans].sort((a, b) => a.kl_nats - b.kl_nats);
  assert.deepEqual(await columnTexts(page, 'ranking', 'plan'),
                   up.map(p => p.plan));
  await head.click();
  const down = [...plans].sort((a, b) => b.kl_nats - a.kl_nats);
  assert.deepEqual(await columnTexts(page, 'ranking', 'plan'),
                   down.map(p => p.plan));
  assert.equal(await page.locator('#ranking th[aria-sort=descending]').count(),
               1);
}));

test('The ranking is filtered by words, figures and the front', on(
    async page => {
  const filter = page.locator('#ranking input[type=search]');
  const shown = () => columnTexts(page, 'ranking', 'plan');
  const names = keep => plans.filter(keep).map(p => p.plan);
  await filter.fill('softmax=kahan');
  assert.deepEqual(await shown(), names(p => p.plan.includes('softmax=kahan')));
  await filter.fill('matmul final_rel_l2<1e-3');
  assert.deepEqual(await shown(), names(
      p => p.plan.includes('matmul') && p.final_rel_l2 < 1e-3));
  await filter.fill('');
  await page.getByLabel('the Pareto front alone').check();
  assert.deepEqual(await shown(), names(p => p.pareto));
}));

test('Another error and speed give another picture', on(async page => {
  await page.locator('#pareto select').nth(0).selectOption(
      'prefill_tokens_per_second');
  await page.locator('#pareto select').nth(1).selectOption('kl_nats');
  const front = plans.filter(p => !plans.some(
      o => o.prefill_tokens_per_second >= p.prefill_tokens_per_second &&
           o.kl_nats <= p.kl_nats && o !== p));
  assert.deepEqual((await page.locator('#pareto circle.pareto').evaluateAll(
      points => points.map(p => p.dataset.plan))).sort(),
      front.map(p => p.plan).sort());
}));

test('Curves are of the chosen plans, figure and tokens', on(async page => {
  const boxes = page.locator('#curves fieldset input');
  assert.equal(await boxes.count(), plans.length);
  await page.locator('#curves fieldset').getByText('none').click();
  assert.equal(await page.locator('#curves path.series').count(), 0);
  const plan = plans[3];
  await page.locator(`#curves input[data-plan="${plan.plan}"]`).check();
  assert.equal(await page.locator('#curves path.series').count(), 1);
  await page.locator('#curves select').nth(0).selectOption('rmse');
  await page.locator('#curves select').nth(1).selectOption('token');
  await page.locator('#curves svg[role=application]').focus();
  const own = layers.filter(r => r.plan === plan.plan && r.tokens === 'token');
  for (const row of own) {
    const said = await page.locator('#curves .said').textContent();
    assert.ok(said.startsWith(`After layer ${row.layer}, ${plan.plan}`), said);
    assertShows(said.replace(plan.plan, ''), row.rmse);
    await page.keyboard.press('ArrowRight');
  }
}));

test('Cancelling layers are marked', on(async page => {
  const rows = layers.filter(
      r => r.plan === plans[0].plan && r.tokens === 'prompt');
  const ratio = r => Math.max(r.attn_cancellation, r.mlp_cancellation);
  const most = rows.reduce((a, b) => ratio(a) > ratio(b) ? a : b);
  const mark = page.locator(`#curves [data-mark="${most.layer}"]`);
  assertShows(await mark.textContent(), ratio(most));
}));

test('Main effects have their shares', on(async page => {
  const shares = await columnTexts(page, 'effects', 'error_share');
  results.main_effects.forEach((row, i) =>
      assertShows(shares[i], row.error_share));
}));

test('A plan that is not timed says why, and is in no figure of speeds', () => {
  const changed = structuredClone(results);
  const plan = changed.plans[1];
  for (const phase of ['decode', 'prefill']) {
    plan[`${phase}_tokens_per_second`] = null;
    plan[`${phase}_tokens_per_second_half_iqr`] = null;
  }
  Object.assign(plan, {not_timed: 'emulated', pareto: false});
  return withFile(pageOf('sweep', changed), async page => {
    const cell = page.locator('#ranking tbody tr').nth(1)
        .locator('td[data-column="decode_tokens_per_second"]');
    assert.equal(await cell.textContent(), 'emulated');
    assert.equal(await cell.getAttribute('title'), 'not measured: emulated');
    assert.equal(await page.locator('#pareto circle[data-plan]').count(),
                 plans.length - 1);
    assert.ok((await page.locator('main').textContent()).includes(
        `1 of ${plans.length} plans is not timed: emulated.`));
  });
});
