// Keys of the review, which work wherever nothing is written.
import { another, elsewhere } from './sides.js';

const WRITING = 'input:not([type=checkbox]), textarea, select';

/** Listen to keys on behalf of a review. */
export function listen(reviewing) {
  document.addEventListener('keydown', (event) => onKey(reviewing, event));
}

function onKey(reviewing, event) {
  if (event.ctrlKey || event.metaKey || event.altKey || !reviewing.state.item) {
    return;
  }
  if (event.target.closest(WRITING)) {
    if (event.target.id === 'note' && (event.key === 'Escape' || event.key === 'Enter')) event.target.blur();
    return;
  }
  const act = action(reviewing, event);
  if (!act) return;
  event.preventDefault();
  act();
}

/** Return what a key does; null for one that does nothing here. */
function action(reviewing, { key, shiftKey, target }) {
  const { listening, state: { choice } } = reviewing;
  const isPressed = target.closest('button, summary, a, input') !== null; // by Space or Enter itself
  const step = shiftKey ? 5 : 1;
  const acts = {
    ' ': isPressed ? null : () => listening.player.toggle(),
    Enter: choice && !isPressed ? () => reviewing.reason() : null,
    Escape: choice ? () => reviewing.change({ choice: null }) : null,
    ArrowLeft: () => listening.move(-step),
    ArrowRight: () => listening.move(step),
    '[': () => elsewhere(reviewing, 'earlier'),
    ']': () => elsewhere(reviewing, 'later'),
    '?': () => reviewing.choose('unsure'),
    a: () => listening.hear('suspect'),
    b: () => listening.hear('other'),
    s: () => listening.toggle(),
    l: () => listening.loop(),
    m: () => another(reviewing),
    k: () => reviewing.choose('keep'),
    x: () => reviewing.choose('remove'),
    u: () => reviewing.undo(),
    n: () => reviewing.skip(),
    c: () => document.getElementById('note').focus(),
  };
  if (/^[1-9]$/.test(key)) return choice ? () => reviewing.reason(Number(key) - 1) : null;
  if (target.closest('.wave') && (key.startsWith('Arrow') || key === '[' || key === ']' || key === 'Escape')) return null; // moves its playhead
  return acts[key] ?? acts[key.toLowerCase()] ?? null;
}
