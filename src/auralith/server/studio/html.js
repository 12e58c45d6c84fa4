// Templates without a build step: text in ${} becomes a text node or an attribute, never markup.
import { Component, createRef, h, render } from './node_modules/preact/dist/preact.mjs';
import htm from './node_modules/htm/dist/htm.module.js';

export const html = htm.bind(h);
export { Component, createRef, render };
