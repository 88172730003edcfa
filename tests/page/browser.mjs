// Pages of reports in a browser without a network.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import {after} from 'node:test';
import {pathToFileURL} from 'node:url';
import {chromium} from 'playwright-core';

export const reports = process.env.REPORTS;
export const ALL = ['sweep', 'attribute', 'against', 'diagnose',
                    'diagnose_bugs', 'pair', 'recommend', 'seed'];

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM, args: ['--no-sandbox']});
after(() => browser.close());

export function resultsText(name) {
  return fs.readFileSync(path.join(reports, name, 'results.json'), 'utf8');
}

export function resultsOf(name) {
  return JSON.parse(resultsText(name));
}

// Opens the file, runs `test` on the page and asserts that the page said
// nothing on its console and asked for nothing but itself.
export async function withFile(file, test, {scheme = 'light', hash = ''} = {}) {
  const context = await browser.newContext({
    viewport: {width: 1280, height: 900}, colorScheme: scheme, offline: true});
  const page = await context.newPage(), said = [], asked = [];
  page.on('console', message => said.push(message.text()));
  page.on('pageerror', error => said.push(error.stack));
  page.on('dialog', dialog => said.push(dialog.message()));
  page.on('request', request => asked.push(request.url()));
  const url = pathToFileURL(file).href;
  await page.goto(url + hash);
  await test(page);
  assert.deepEqual(said, []);
  assert.deepEqual(asked.filter(
      other => other !== url && !other.startsWith('blob:')), []);
  await context.close();
}

export function withReport(name, test, options) {
  return withFile(path.join(reports, name, 'report.html'), test, options);
}

// Puts what `change` makes of the JSON between two texts of a page.
function changed(html, open, close, change) {
  const start = html.indexOf(open) + open.length;
  const end = html.indexOf(close, start);
  return html.slice(0, start) +
      JSON.stringify(change(JSON.parse(html.slice(start, end))))
          .replaceAll('<', '\\u003c').replaceAll('&', '\\u0026') +
      html.slice(end);
}

// The report's page with other results, in a file of its own; changeAbout
// returns what it says of them.
export function pageOf(name, results, changeAbout = about => about) {
  let html = fs.readFileSync(path.join(reports, name, 'report.html'), 'utf8');
  html = changed(html, '<script type="application/json" id="results">',
                 '</script', () => results);
  html = changed(html, '<template id="about">', '</template', changeAbout);
  const folder = fs.mkdtempSync(path.join(reports, 'made-'));
  const file = path.join(folder, 'report.html');
  fs.writeFileSync(file, html);
  return file;
}

export const LEFT_OUT = 'Rows of `some` tables are left out.';

// The report's page with the first rows alone of some tables, {table: rows},
// as of a result that is too large.
export function cutPageOf(name, kept, more = {}) {
  const all = resultsOf(name), part = structuredClone(all);
  for (const [table, count] of Object.entries(kept)) {
    part[table] = part[table].slice(0, count);
  }
  return pageOf(name, part, about => {
    Object.assign(about, more, {left_out: LEFT_OUT});
    for (const table of Object.keys(kept)) {
      about.tables[table].rows = all[table].length;
    }
    return about;
  });
}

// Drops a file on the page, as from a file manager.
export async function drop(page, name, text) {
  await page.evaluate(([fileName, content]) => {
    const dataTransfer = new DataTransfer();
    dataTransfer.items.add(new File([content], fileName));
    document.body.dispatchEvent(
        new DragEvent('drop', {dataTransfer, bubbles: true, cancelable: true}));
  }, [name, text]);
  await page.waitForFunction(
      () => document.querySelector('#comparison, [role=alert]'));
}

// Asserts that the text shows this figure, to the digits that it has.
export function assertShows(text, value) {
  const numbers = (text.match(/-?\d+(\.\d+)?(e[-+]?\d+)?/g) || []).map(Number);
  const near = x => x === value ||
      Math.abs(x - value) <= 6e-3 * Math.abs(value) ||
      Math.abs(x / 100 - value) <= 6e-4;  // percent, of one digit
  assert.ok(numbers.some(near), `${value} is not in: ${text}`);
}

// The texts of a column of a table, and the rows that it shows.
export function columnTexts(page, section, column) {
  return page.locator(`#${section} td[data-column="${column}"]`)
      .allTextContents();
}
