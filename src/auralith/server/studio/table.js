// Tables of prompts as people paste them: a prompt a line, or columns called like settings, one of them prompt.
import { toMembers } from './request.js';

const MOST_ROWS = 1000;
const SEPARATORS = [',', '\t', ';'];
const OWN = ['prompt', 'negative_prompt', 'seed', 'n', 'seconds', 'format', 'model'];

/** Return the requests' members that a table says, a row each. Throw an `Error` that says what is wrong with it. */
export function readTable(text, settings) {
  const lines = text.replace(/^\ufeff/, '').split(/\r?\n/).filter((line) => line.trim());
  const separator = SEPARATORS.find((one) => names(lines[0] ?? '', one).includes('prompt') && names(lines[0], one).length > 1);
  const isTable = separator !== undefined || lines[0]?.trim().toLowerCase() === 'prompt';
  const rows = isTable ? ofColumns(cells(text.replace(/^\ufeff/, ''), separator ?? ','), settings) : lines.map((line) => ({ prompt: line.trim() }));
  if (!rows.length) throw new Error('there is no prompt; write one a line, or a table with a column prompt');
  if (rows.length > MOST_ROWS) throw new Error(`there are ${rows.length} prompts; make a set of at most ${MOST_ROWS}`);
  return rows;
}

function names(line, separator) {
  return (cells(line, separator)[0] ?? []).map((name) => name.trim().toLowerCase());
}

function ofColumns([first, ...rows], settings) {
  const header = first.map((name) => name.trim().toLowerCase());
  const unknown = header.find((name) => !OWN.includes(name) && !(name in settings));
  if (unknown !== undefined) throw new Error(`the column ${unknown.slice(0, 60)} is no setting; rename it, or leave it out`);
  return rows.filter((row) => row.some((cell) => cell.trim())).map((row, i) => {
    if (row.length > header.length) throw new Error(`row ${i + 1} has ${row.length} cells, more than there are columns; put quotes around commas`);
    const texts = Object.fromEntries(header.map((name, at) => [name, (row[at] ?? '').trim()]).filter(([, cell]) => cell));
    if (!texts.prompt) throw new Error(`row ${i + 1} has no prompt; give one, or remove it`);
    return { ...toMembers(texts, settings), ...ownOf(texts) };
  });
}

/** Return the members that are not settings of a model, or that the form has controls for. */
function ownOf(texts) {
  const isNumber = (name) => name === 'n' || name === 'seconds';
  const plain = ([name, text]) => [name, isNumber(name) && !Number.isNaN(Number(text.replace(',', '.'))) ? Number(text.replace(',', '.')) : text];
  return Object.fromEntries(Object.entries(texts).filter(([name]) => OWN.includes(name)).map(plain));
}

/** Return the rows of separated values (RFC 4180): cells in quotes may hold separators, lines and doubled quotes. */
function cells(text, separator) {
  const rows = [[]];
  const ends = separator === '\t' ? '\\t' : separator;
  for (const [, quoted, plain, end] of text.matchAll(new RegExp(`(?:"((?:[^"]|"")*)"|([^${ends}\\r\\n]*))(${ends}|\\r?\\n|$)`, 'g'))) {
    rows.at(-1).push(quoted?.replaceAll('""', '"') ?? plain);
    if (end === '') break;
    if (end !== separator) rows.push([]);
  }
  return rows.filter((row) => row.length > 1 || row[0]?.trim());
}
