// The page: panels around one studio, drawn anew when its state changes.
import { keepKey } from './api.js';
import { Aside } from './aside.js';
import { Edit } from './edit.js';
import { Form } from './form.js';
import { Hear } from './hear.js';
import { Help } from './help.js';
import { Component, html, render } from './html.js';
import { Icon } from './icons.js';
import { listen } from './keys.js';
import { Origin } from './origin.js';
import { Sets } from './sets.js';
import { Studio } from './studio.js';

const WORK = [Form, Hear, Edit, Origin, Sets]; // panels from top to bottom; each is given the studio
const ASIDE = [Aside];

class Page extends Component {
  componentDidMount() {
    const { studio } = this.props;
    studio.addEventListener('change', () => this.setState({}));
    window.addEventListener('focus', () => studio.state.limits && studio.guarded(() => studio.jobs.refresh())());
    listen(studio);
    studio.start();
  }

  render({ studio }) {
    const { status, needsKey, limits } = studio.state;
    const draw = (panels) => panels.map((Panel) => html`<${Panel} key=${Panel.name} studio=${studio} />`);
    const onFile = (event) => {
      const [file] = event.target.files;
      event.target.value = ''; // so that the same one can be chosen again
      if (file) studio.sounds.take(file);
    };
    return html`<header><h1><img src="studio/icon.svg" alt="" />Auralith <b>Studio</b></h1>
        <label class="file"><${Icon} name="open" />Open a sound <input type="file" accept="audio/*" onChange=${onFile} /></label><${Help} /></header>
      <p role="status" class="status">${status}</p>
      ${needsKey && html`<${Key} onKey=${(key) => { keepKey(key); studio.start(); }} />`}
      ${limits && html`<main><div class="work">${draw(WORK)}</div><div class="aside">${draw(ASIDE)}</div></main>`}`;
  }
}

function Key({ onKey }) {
  const submitted = (event) => {
    event.preventDefault();
    onKey(event.target.elements.key.value);
  };
  return html`<form class="row" onSubmit=${submitted}><label for="key">API key</label>
    <input id="key" type="password" autocomplete="current-password" required /><button type="submit">Use it</button></form>`;
}

render(html`<${Page} studio=${new Studio()} />`, document.body);
