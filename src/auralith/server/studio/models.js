// The models of the server: what they make, whether they are in memory, their license and card.
import { Component, html } from './html.js';

const NUMBER = new Intl.NumberFormat('en', { maximumFractionDigits: 1 });

export class Models extends Component {
  componentDidMount() {
    this.props.studio.outfitting.read();
  }

  render({ studio }) {
    const { models, loaded } = studio.state;
    return html`<ul class="models">${models.map((model, i) => html`<${Model} key=${model.id} model=${model} isDefault=${i === 0}
        loaded=${loaded.filter((one) => one.id === model.id)} studio=${studio} />`)}</ul>
      <${Limits} limits=${studio.state.limits} />`;
  }
}

function Model({ model, isDefault, loaded, studio }) {
  const { outfitting, state: { cards } } = studio;
  const card = cards[model.id];
  return html`<li><h3 class="name">${model.id}</h3>
    <dl class="facts">
      <${Fact} name="State" value=${loaded.length ? loaded.map(place).join('; ') : 'loaded when it is needed'} />
      <${Fact} name="Makes" value=${`up to ${NUMBER.format(model.seconds_max)} s, ${model.channels === 1 ? 'mono' : 'stereo'}, ${model.sample_rate.toLocaleString('en')} Hz`} />
      <${Fact} name="License" value=${model.license ?? 'not stated beside its weights'} />
      ${isDefault && html`<${Fact} name="Default" value="yes" />`}
    </dl>
    <details onToggle=${() => outfitting.readCard(model.id)}><summary>Card and license</summary>
      ${card && !card.card && !card.license_text && html`<p>No card and no license lie beside its weights.</p>`}
      ${card?.card && html`<pre class="card-text" role="region" tabindex="0" aria-label="Card">${card.card}</pre>`}
      ${card?.license_text && html`<pre class="card-text" role="region" tabindex="0" aria-label="License">${card.license_text}</pre>`}
    </details></li>`;
}

function place({ device, bytes, adapters }) {
  const merged = adapters > 0 ? `, with ${adapters} adapter${adapters > 1 ? 's' : ''}` : '';
  return `in memory on ${device}, ${NUMBER.format(bytes / 2 ** 20)} MiB${merged}`;
}

function Limits({ limits }) {
  const facts = [
    ['Variations at a time', limits.n], ['Jobs that wait', limits.queue], ['Upload', `${limits.upload_seconds} s`],
    ['Extended up to', `${limits.extension_seconds} s`], ['Kept for', `${NUMBER.format(limits.keep_days)} days, starred ones longer`],
    ['Kept in all', `${NUMBER.format(limits.keep_bytes / 2 ** 30)} GiB`],
  ];
  return html`<h3>Limits</h3><dl class="facts">${facts.map(([name, value]) => html`<${Fact} key=${name} name=${name} value=${value} />`)}</dl>`;
}

export function Fact({ name, value }) {
  return html`<div><dt>${name}</dt><dd>${value}</dd></div>`;
}
