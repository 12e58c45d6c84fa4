// Adapters of the server's folder, each with a strength, for what is made next.
import { Component, html } from './html.js';
import { Switch } from './fields.js';

const [LEAST, MOST, STEP] = [-1, 2, 0.05]; // of the slider; the number beside it takes what the server takes

export class Adapters extends Component {
  componentDidMount() {
    this.props.studio.outfitting.read();
  }

  render({ studio }) {
    const { outfitting, state: { adapters, form, limits } } = studio;
    if (adapters === null) return html`<p class="quiet-line">Reading …</p>`;
    const chosen = Object.keys(form.adapters);
    const gone = chosen.filter((id) => !adapters.includes(id));
    if (!adapters.length && !gone.length) {
      return html`<p>No adapters are there. Put their files into a folder and start the server with it:</p>
        <pre class="command">auralith serve --adapters DIR</pre>`;
    }
    return html`<p class="hint">Those that are on change what is made next, ${limits.adapters} at most.</p>
      <ul class="adapters">${[...adapters, ...gone].map((id, i) => html`<${Adapter} key=${id} id=${id} name=${`adapter-${i}`} outfitting=${outfitting}
        strength=${form.adapters[id]} isGone=${gone.includes(id)} isFull=${chosen.length >= limits.adapters} />`)}</ul>`;
  }
}

function Adapter({ id, name, strength, isGone, isFull, outfitting }) {
  const isOn = strength !== undefined;
  const value = strength ?? '1';
  const set = (event) => outfitting.set(id, event.target.value);
  return html`<li><${Switch} id=${name} label=${id} isOn=${isOn} isDisabled=${!isOn && isFull} onValue=${(next) => outfitting.set(id, next ? '1' : null)} />
    ${isGone && html`<p class="warning">It isn't in the folder any more.</p>`}
    <div class="row" role="group" aria-labelledby=${`${name}-label`}><span class="hidden" id=${`${name}-label`}>${id}</span>
      <input type="range" min=${LEAST} max=${MOST} step=${STEP} value=${value} disabled=${!isOn && isFull} aria-label="Strength" onInput=${set} />
      <input inputmode="decimal" aria-label="Strength as a number" autocomplete="off" value=${value} disabled=${!isOn && isFull} onChange=${set} /></div>
  </li>`;
}
