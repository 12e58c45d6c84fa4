// Controls of forms. Each has a label of its own, and says what is wrong with it.
import { html } from './html.js';
import { Icon } from './icons.js';

/** A line of text, or a number, which may be written in either notation of decimals. */
export function Text({ id, label, value, onValue, hint, placeholder, isWide, isNumber, isInvalid, onCommit }) {
  const kind = isNumber ? 'field number' : `field${isWide ? ' wide' : ''}`;
  return html`<div class=${kind}>
    <label for=${id}>${label}</label>
    <input id=${id} value=${value} placeholder=${placeholder} inputmode=${isNumber ? 'decimal' : null} autocomplete="off"
      onInput=${onValue && ((event) => onValue(event.target.value))} onChange=${onCommit}
      aria-invalid=${isInvalid ? 'true' : null} aria-describedby=${hint ? `${id}-hint` : null} />
    ${hint && html`<small id=${`${id}-hint`}>${hint}</small>`}
  </div>`;
}

export function Choice({ id, label, value, onValue, values, hint, isInvalid }) {
  return html`<div class="field"><label for=${id}>${label}</label>
    <select id=${id} value=${value} onChange=${(event) => onValue(event.target.value)} aria-invalid=${isInvalid ? 'true' : null}
      aria-describedby=${hint ? `${id}-hint` : null}>
      ${values.map(([key, text]) => html`<option key=${key} value=${key} selected=${key === value}>${text}</option>`)}
    </select>
    ${hint && html`<small id=${`${id}-hint`}>${hint}</small>`}</div>`;
}

export function Switch({ id, label, isOn, isDisabled, onValue }) {
  return html`<label class="switch"><input type="checkbox" role="switch" id=${id} checked=${isOn} disabled=${isDisabled}
    onChange=${(event) => onValue(event.target.checked)} /><span>${label}</span></label>`;
}

/** One of a few, side by side. */
export function Segments({ name, label, value, values, onValue }) {
  return html`<fieldset class="segments"><legend>${label}</legend>
    ${values.map(([key, text]) => html`<label key=${key}><input type="radio" name=${name} value=${key} checked=${key === value}
      onChange=${() => onValue(key)} /><span>${text}</span></label>`)}
  </fieldset>`;
}

/** A button with an icon; `isOn` makes it one that stays pressed. A label is read in place of its text, and shown on hovering. */
export function Button({ icon, label, text, isOn, isDisabled, kind = '', onClick, keys, describedBy }) {
  return html`<button type="button" class=${kind} aria-label=${label} title=${label}
    aria-pressed=${isOn === undefined ? null : String(isOn)} disabled=${isDisabled} onClick=${onClick} aria-keyshortcuts=${keys}
    aria-describedby=${describedBy}>${icon && html`<${Icon} name=${icon} />`}${text}</button>`;
}
