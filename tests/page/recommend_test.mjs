import assert from 'node:assert/strict';
import {test} from 'node:test';
import {assertShows, columnTexts, pageOf, resultsOf, withFile, withReport}
    from './browser.mjs';

const results = resultsOf('recommend');
const {context, plans, changes, strategies} = results;
const chosen = plans.find(plan => plan.chosen);
const on = body => () => withReport('recommend', body);
const front = async page => (await page.locator('#pareto circle.pareto')
    .evaluateAll(points => points.map(p => p.dataset.plan))).sort();

test('The verdict has the plan and its figures', on(async page => {
  const verdict = await page.locator('#verdict').textContent();
  assert.ok(verdict.includes(`--plan=${context.chosen}`), verdict);
  for (const name of ['error', 'other_error', 'time_ratio']) {
    assertShows(verdict, chosen[name]);
  }
  assertShows(verdict, chosen[`${context.phase}_tokens_per_second`]);
}));

test('What is not measured is not told as a figure', () => {
  const changed = structuredClone(results);
  Object.assign(changed.plans.find(plan => plan.chosen), {
    other_error: null, time_ratio_low: null, time_ratio_high: null});
  return withFile(pageOf('recommend', changed), async page => {
    const verdict = await page.locator('#verdict').textContent();
    assert.ok(!/not measured|interval/.test(verdict), verdict);
    assertShows(verdict, chosen.time_ratio);
  });
});

test('The front is that of the results, others are of the points', () => {
  const changed = structuredClone(results);
  const like = (plan, by, on) => ({
    ...plans[0], plan, pareto: on,
    decode_tokens_per_second: by * plans[0].decode_tokens_per_second,
    prefill_tokens_per_second: by * plans[0].prefill_tokens_per_second,
    error: plans[0].error / by, other_error: by * plans[0].other_error});
  // By their own figures the first of these is on no front of `error`.
  changed.plans = [like('slow', 0.5, true), like('middle', 1, false),
                   like('fast', 2, true)];
  return withFile(pageOf('recommend', changed), async page => {
    assert.deepEqual(await front(page), changed.plans.filter(p => p.pareto)
        .map(p => p.plan).sort());
    await page.locator('#pareto select').nth(1).selectOption('other_error');
    const speed = `${context.phase}_tokens_per_second`;
    const others = changed.plans.filter(p => !changed.plans.some(
        o => o !== p && o[speed] >= p[speed] &&
             o.other_error <= p.other_error));
    assert.deepEqual(await front(page), others.map(p => p.plan).sort());
  });
});

test('A chosen point is marked in the table and in the address', on(
    async page => {
  await page.locator(`circle[data-plan="${plans[0].plan}"]`).focus();
  await page.keyboard.press('Enter');
  assert.equal(await page.locator('#ranking tr.chosen [data-column=plan]')
      .textContent(), plans[0].plan);
  assert.equal(decodeURIComponent(new URL(page.url()).hash),
               `#plan=${plans[0].plan}`);
}));

test('What entries do and strategies cost are tables', on(async page => {
  assert.equal(await page.locator('#changes tbody tr').count(),
               changes.length);
  assert.equal(await page.locator('#strategies tbody tr').count(),
               strategies.length);
  const times = await columnTexts(page, 'strategies', 'time_ratio');
  strategies.forEach((row, i) => {
    if (row.time_ratio === null) return;
    const [time, spread] = times[i].split(' ± ');
    assertShows(time, row.time_ratio);
    assert.equal(spread, `${row.time_ratio_half_iqr.toFixed(3)}×`);
  });
}));
