// What stands beside the work, a panel at a time.
import { Adapters } from './adapters.js';
import { Component, html } from './html.js';
import { History } from './history.js';
import { Models } from './models.js';

const TABS = [['history', 'History', History], ['adapters', 'Adapters', Adapters], ['models', 'Models', Models]];
const STEPS = { ArrowLeft: -1, ArrowRight: 1, Home: -TABS.length, End: TABS.length };

export class Aside extends Component {
  state = { tab: 0 };

  render({ studio }, { tab }) {
    const [id, , Panel] = TABS[tab];
    const chosen = Object.keys(studio.state.form.adapters).length;
    const onKey = (event) => {
      if (!(event.key in STEPS)) return;
      event.preventDefault();
      const next = Math.max(0, Math.min(TABS.length - 1, tab + STEPS[event.key]));
      this.setState({ tab: next });
      document.getElementById(`tab-${TABS[next][0]}`).focus();
    };
    return html`<div class="card">
      <div class="tabs" role="tablist" aria-label="Beside the work" onKeyDown=${onKey}>
        ${TABS.map(([name, label], i) => html`<button type="button" role="tab" key=${name} id=${`tab-${name}`} aria-selected=${String(i === tab)}
          aria-controls=${i === tab ? `panel-${name}` : null} tabindex=${i === tab ? 0 : -1} onClick=${() => this.setState({ tab: i })}>${label}${
            name === 'adapters' && chosen > 0 && html` <small>${chosen}</small>`}</button>`)}
      </div>
      <div role="tabpanel" id=${`panel-${id}`} aria-labelledby=${`tab-${id}`}><${Panel} studio=${studio} /></div>
    </div>`;
  }
}
