// The versions of a sound: what it was made from, and what was made of it.
import { html } from './html.js';
import { title } from './lineage.js';

const DEEPEST = 32;

export function Tree({ studio }) {
  const { lineage } = studio;
  const root = lineage.line.at(-1);
  if (!root || !lineage.children(root).length) return null;
  return html`<nav class="versions" aria-label="Versions"><h3>Versions</h3>
    <ul><${Branch} studio=${studio} shown=${root} depth=${0} /></ul></nav>`;
}

function Branch({ studio, shown, depth }) {
  const { sounds, lineage, state } = studio;
  const isShown = state.shown.id === shown.id;
  const made = depth < DEEPEST ? lineage.children(shown) : [];
  return html`<li><button type="button" aria-current=${isShown ? 'true' : null} disabled=${!shown.sounds.length}
      onClick=${() => sounds.show(shown)}>${title(shown)} <small>${shown.name}</small></button>
    ${made.length > 0 && html`<ul>${made.map((one) => html`<${Branch} key=${one.id} studio=${studio} shown=${one} depth=${depth + 1} />`)}</ul>`}</li>`;
}
