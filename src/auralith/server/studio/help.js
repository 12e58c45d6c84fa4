// The keys of the page, in a dialog.
import { Button } from './fields.js';
import { createRef, html, Component } from './html.js';

const KEYS = [
  ['Ctrl + Enter', 'Generate'], ['Space', 'Play, stop'], ['L', 'Loop the sound, or the selection'], ['1 – 9', 'Another variation, at the same place'],
  ['S', 'Star the sound, or take its star'], ['B', 'Compare with the source, at the same place'], ['Ctrl + Z', 'Back to the source'], ['Ctrl + Shift + Z', 'On to what was made of it'],
  ['← →', 'Move the playhead; with Shift, by a second'], ['[ ]', 'Begin and end the selection at the playhead'], ['Esc', 'Clear the selection'],
  ['?', 'These keys'],
];

export class Help extends Component {
  #dialog = createRef();

  componentDidMount() {
    document.addEventListener('studio-help', this.#open);
  }

  componentWillUnmount() {
    document.removeEventListener('studio-help', this.#open);
  }

  #open = () => this.#dialog.current.showModal();

  render() {
    return html`<${Button} icon="help" label="Keys" kind="quiet" keys="?" onClick=${this.#open} />
      <dialog ref=${this.#dialog} aria-labelledby="keys-title"><div class="head"><h2 id="keys-title">Keys</h2>
        <${Button} icon="close" label="Close" kind="quiet" onClick=${() => this.#dialog.current.close()} /></div>
        <dl>${KEYS.map(([keys, text]) => html`<div key=${keys}><dt><kbd>${keys}</kbd></dt><dd>${text}</dd></div>`)}</dl>
        <p class="hint">The playhead has its keys once it has the focus.</p></dialog>`;
  }
}

/** Open the dialog from anywhere. */
export function showHelp() {
  document.dispatchEvent(new Event('studio-help'));
}
