// Keys that work anywhere on the page, and files that are dropped on it.
import { showHelp } from './help.js';

const TABLES = /\.(csv|tsv|txt)$/i; // of prompts, for a set
const WRITING = 'input:not([type=checkbox], [type=range], [type=radio]), textarea, select';

/** Listen to keys and drops on behalf of a studio. */
export function listen(studio) {
  document.addEventListener('keydown', (event) => onKey(studio, event));
  for (const kind of ['dragover', 'dragleave', 'drop']) document.addEventListener(kind, (event) => onDrag(studio, event));
}

function onKey({ state, sounds, lineage, remembering }, event) {
  if ((event.ctrlKey || event.metaKey) && event.key === 'Enter') {
    event.preventDefault();
    document.getElementById('make')?.requestSubmit();
    return;
  }
  if (event.altKey || event.target.closest(WRITING) || event.target.closest('dialog')) return;
  const key = event.key.toLowerCase();
  if (key === '?') showHelp();
  if (!state.shown) return;
  if (event.ctrlKey || event.metaKey) {
    if (key !== 'z' && key !== 'y') return;
    event.preventDefault();
    if (key === 'y' || event.shiftKey) lineage.redo();
    else lineage.undo();
    return;
  }
  if (event.key === ' ') {
    if (event.target.closest('button, summary, input')) return; // presses it
    event.preventDefault();
    sounds.player.toggle();
  } else if (key === 'l') sounds.loop();
  else if (key === 'b') sounds.swap();
  else if (key === 's' && sounds.sound?.is_starred !== undefined) remembering.star(sounds.sound);
  else if (/^[1-9]$/.test(event.key)) sounds.pick(Number(event.key) - 1);
}

function onDrag({ sounds, queueing }, event) {
  if (!event.dataTransfer?.types.includes('Files')) return; // text may go into a field
  event.preventDefault();
  const isOver = event.type === 'dragover' || (event.type === 'dragleave' && event.relatedTarget !== null);
  document.body.classList.toggle('dropping', isOver);
  if (event.type !== 'drop') return;
  const [file] = event.dataTransfer.files;
  if (TABLES.test(file.name)) queueing.take(file);
  else sounds.take(file);
}
