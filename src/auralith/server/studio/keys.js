// Keys that work anywhere on the page, and files that are dropped on it.
const WRITING = 'input:not([type=checkbox], [type=range], [type=radio]), textarea, select';

/** Listen to keys and drops on behalf of a studio. */
export function listen(studio) {
  document.addEventListener('keydown', (event) => onKey(studio, event));
  for (const kind of ['dragover', 'drop']) document.addEventListener(kind, (event) => onDrag(studio, event));
}

function onKey({ state, sounds }, event) {
  if ((event.ctrlKey || event.metaKey) && event.key === 'Enter') {
    event.preventDefault();
    document.getElementById('make')?.requestSubmit();
    return;
  }
  if (event.ctrlKey || event.metaKey || event.altKey || !state.shown) return;
  if (event.target.closest(WRITING)) return;
  if (event.key === ' ') {
    if (event.target.closest('button, summary, input')) return; // presses it
    event.preventDefault();
    sounds.player.toggle();
  } else if (event.key.toLowerCase() === 'l') sounds.loop();
  else if (/^[1-9]$/.test(event.key)) sounds.pick(Number(event.key) - 1);
}

function onDrag({ sounds }, event) {
  if (!event.dataTransfer?.types.includes('Files')) return; // text may go into a field
  event.preventDefault();
  if (event.type === 'drop') sounds.take(event.dataTransfer.files[0]);
}
