// How the sound that is heard came to be, and what it is near to.
import { Button } from './fields.js';
import { Component, html } from './html.js';
import { Fact } from './models.js';

const DIGITS = 12; // of a hash that is shown

export class Origin extends Component {
  state = { isOpen: false };

  componentDidUpdate() {
    const { sounds, tracing } = this.props.studio;
    const isMade = sounds.sound?.is_starred !== undefined; // uploads are not ours
    if (this.state.isOpen && isMade) tracing.read(sounds.sound);
  }

  render({ studio }) {
    const { sounds, state: { shown, tags } } = studio;
    if (!shown || shown.isPreview || sounds.sound?.is_starred === undefined) return null;
    const values = tags?.id === sounds.sound.id ? tags.values : null;
    return html`<details class="card provenance" open=${this.state.isOpen} onToggle=${(event) => this.setState({ isOpen: event.target.open })}>
      <summary><h2>Provenance</h2></summary>
      ${values ? html`<${Facts} values=${values} /><${Command} studio=${studio} values=${values} />` : html`<p>Reading …</p>`}
      <${Nearest} studio=${studio} /></details>`;
  }
}

function Facts({ values }) {
  const { settings, adapters, edit, source } = values;
  const given = Object.entries(settings).filter(([, value]) => value !== null && !isEmpty(value));
  return html`<dl class="facts">
    <${Fact} name="Made by" value=${values.generator} />
    <${Fact} name="Model" value=${`${values.model}, ${values.model_hash.slice(0, DIGITS)}`} />
    <${Fact} name="On" value=${`${values.device}, ${values.dtype}${values.batch_size > 1 ? `, ${values.batch_index + 1} of a batch of ${values.batch_size}` : ''}`} />
    ${adapters.map((one) => html`<${Fact} key=${one.name} name="Adapter" value=${`${one.name} at ${one.strength}, ${one.file_hash.slice(0, DIGITS)}`} />`)}
    ${edit && html`<${Fact} name="Edit" value=${Object.entries(edit).filter(([, value]) => value !== null).map(pair).join(', ')} />`}
    ${source && html`<${Fact} name="Made from" value=${`${source.name}, ${source.file_hash.slice(0, DIGITS)}`} />`}
    ${given.map(([name, value]) => html`<${Fact} key=${name} name=${name.replaceAll('_', ' ')} value=${text(value)} />`)}
  </dl>`;
}

function pair([name, value]) {
  return `${name.replaceAll('_', ' ')} ${text(value)}`;
}

function text(value) {
  return typeof value === 'object' ? JSON.stringify(value) : String(value);
}

function isEmpty(value) {
  return typeof value === 'object' && !Object.keys(value).length;
}

/** The command that makes the sound again, sample for sample, from its file: ids and suffixes are of letters and digits. */
function Command({ studio, values }) {
  const { sounds, tracing, state: { shown } } = studio;
  const suffix = /^[a-z]+3?/.exec(shown.request?.format ?? 'wav')[0];
  const command = `auralith generate --from auralith-${sounds.sound.id}.${suffix}`;
  return html`<div class="joined"><code class="command" id="command">${command}</code>
      <${Button} text="Copy as command" describedBy="command" onClick=${() => tracing.copy(command)} /></div>
    <p class="hint">makes the sound again from its downloaded file, whose tags hold all this${values.source ? '; the file that it was made from must lie beside it' : ''}.</p>`;
}

function Nearest({ studio }) {
  const { sounds, tracing, state: { limits, nearest } } = studio;
  const { sound } = sounds;
  if (limits.training_sounds == null) {
    return html`<p class="hint">Training sounds to compare with are not loaded; auralith serve --training does that.</p>`;
  }
  const found = nearest?.id === sound.id ? nearest : null;
  if (found === null) {
    return html`<${Button} text="Find the nearest training sounds" onClick=${() => tracing.compare(sound)} />
      <small> of ${limits.training_sounds.toLocaleString('en')}</small>`;
  }
  return html`<h3 id="nearest">Nearest training sounds</h3><div aria-live="polite">
    ${found.items === null ? html`<p>Comparing …</p>` : html`<ol class="nearest" aria-labelledby="nearest">${found.items.map((item) => html`<${Item} key=${item.id} item=${item} />`)}</ol>
      <p class="hint">Being near is no proof of copying; a p-value, where there is one, says how often sounds that were never trained on are as near.</p>`}</div>`;
}

function Item({ item }) {
  const address = link(item.url);
  const facts = [
    ['p', item.p_value], ['p of landmarks', item.landmark_p], ['cosine', item.cosine], ['spectral correlation', item.mel_correlation],
  ].filter(([, value]) => typeof value === 'number');
  const place = `at ${item.start_s.toFixed(2)} s like ${item.training_start_s.toFixed(2)} s there`;
  return html`<li><b>${item.title ?? item.id}</b> ${item.author ? `by ${item.author}` : ', author not stated'}
    <small>${item.license ?? 'license not stated'} · ${address
      ? html`<a href=${address} target="_blank" rel="noopener noreferrer">${new URL(address).host}</a>`
      : (item.url ?? 'no link')}</small>
    <small>${[...facts.map(([name, value]) => `${name} ${digits(value)}`), place].join(' · ')}</small></li>`;
}

function digits(value) {
  return value !== 0 && Math.abs(value) < 0.001 ? value.toExponential(1) : value.toFixed(3);
}

/** Return an address that a page may link to, or null: a manifest may hold anything. */
function link(url) {
  try {
    const { protocol, href } = new URL(url);
    return protocol === 'https:' || protocol === 'http:' ? href : null;
  } catch {
    return null;
  }
}
