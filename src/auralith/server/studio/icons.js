// Icons of 24 × 24, drawn as lines in the color of the text around them.
import { html } from './html.js';

const PATHS = {
  play: 'M7 4.5v15l12-7.5z',
  stop: 'M6.5 6.5h11v11h-11z',
  loop: 'M4 11V9a3 3 0 0 1 3-3h12m-3.5-3.5L19 6l-3.5 3.5M20 13v2a3 3 0 0 1-3 3H5m3.5 3.5L5 18l3.5-3.5',
  download: 'M12 4v11m-4.5-4.5L12 15l4.5-4.5M5 20h14',
  dice: 'M4.5 7a2.5 2.5 0 0 1 2.5-2.5h10A2.5 2.5 0 0 1 19.5 7v10a2.5 2.5 0 0 1-2.5 2.5H7A2.5 2.5 0 0 1 4.5 17zM9 8.9v.2M15 8.9v.2M12 11.9v.2M9 14.9v.2M15 14.9v.2',
  lock: 'M6 11h12v9H6zM8.5 11V8a3.5 3.5 0 0 1 7 0v3',
  unlock: 'M6 11h12v9H6zM8.5 11V8a3.5 3.5 0 0 1 6.7-1.4',
  undo: 'M9 6 4.5 10.5 9 15M5 10.5h9a5 5 0 0 1 0 10h-3',
  redo: 'M15 6l4.5 4.5L15 15M19 10.5h-9a5 5 0 0 0 0 10h3',
  plus: 'M12 5v14M5 12h14',
  minus: 'M5 12h14',
  volume: 'M4 9.5v5h3.5L12 19V5L7.5 9.5zM16 9a4.2 4.2 0 0 1 0 6M18.5 6.5a8 8 0 0 1 0 11',
  brush: 'M14 4l6 6-8 8-6-6zM6 12l-2 8 8-2',
  cut: 'M6 4v13h14M4 7h13v13',
  left: 'M11 6l-6 6 6 6M5 12h14',
  right: 'M13 6l6 6-6 6M19 12H5',
  vary: 'M3 12c3-9 6-9 9 0s6 9 9 0',
  open: 'M4 7v12h16V9h-9L9 7z',
  close: 'M6 6l12 12M18 6 6 18',
  help: 'M12 3.2a8.8 8.8 0 1 0 0 17.6 8.8 8.8 0 0 0 0-17.6M9.5 9.6a2.6 2.6 0 1 1 3.9 2.3c-.9.5-1.4 1-1.4 2.1M12 17v.2',
  star: 'M12 3.6l2.6 5.3 5.9.9-4.2 4.1 1 5.8-5.3-2.8-5.3 2.8 1-5.8-4.2-4.1 5.9-.9z',
  pin: 'M9 4h6l-1 6 3 3H7l3-3zM12 13v7',
};

export function Icon({ name }) {
  return html`<svg class="icon" viewBox="0 0 24 24" aria-hidden="true" focusable="false"><path d=${PATHS[name]} /></svg>`;
}
