// The form: what to make, how long and how often, and everything else in a fold.
import { Settings } from './settings.js';
import { Button, Choice, Switch, Text } from './fields.js';
import { html } from './html.js';
import { Flight } from './flight.js';
import { further, modelOf, number } from './request.js';

const NUMBER = new Intl.NumberFormat('en', { maximumFractionDigits: 3 });

export function Form({ studio }) {
  const { state, making } = studio;
  const { form, models, limits, problem, isSending } = state;
  const model = modelOf(state);
  const about = (name) => ({
    id: name, value: form[name], onValue: (value) => making.set(name, value), isInvalid: problem?.field === name,
  });
  const submitted = (event) => {
    event.preventDefault();
    making.generate();
  };
  return html`<form id="make" class="card make" aria-labelledby="make-title" onSubmit=${submitted}>
    <div class="head"><h2 id="make-title">Make</h2>
      <${Button} icon="dice" text="Surprise me" kind="quiet" onClick=${studio.guarded(() => making.surprise())} /></div>
    <label for="prompt">Prompt</label>
    <textarea id="prompt" rows="2" required autofocus value=${form.prompt} onInput=${(event) => making.set('prompt', event.target.value)}
      aria-invalid=${problem?.field === 'prompt' ? 'true' : null} aria-describedby="prompt-notes"
      placeholder="a slow techno loop at 118 bpm"></textarea>
    <${Notes} estimate=${state.estimate} />
    <${Text} ...${about('negative_prompt')} label="Keep away from" isWide placeholder="hiss, voices" />
    <div class="row">
      <${Text} ...${about('seconds')} label="Seconds" isNumber hint=${`at most ${round(model.seconds_max)}`}
        placeholder=${round(model.seconds_max)} />
      <${Tempo} form=${form} model=${model} about=${about} />
      <${Text} ...${about('n')} label="Variations" isNumber hint=${`at most ${limits.n}`} />
      <div class="seed"><div class="joined"><${Text} ...${about('seed')} label="Seed" placeholder="drawn anew" />
        <${Button} icon=${form.keepSeed ? 'lock' : 'unlock'} label="Keep the seed" isOn=${form.keepSeed}
          onClick=${() => making.set('keepSeed', !form.keepSeed)} />
        <${Button} icon="dice" label="Draw a seed" onClick=${() => making.drawSeed()} /></div>
        <small>${form.keepSeed ? 'kept for every run' : 'another one for every run'}</small></div>
      <div class="field"><span class="blank"></span><${Switch} id="isLoop" label="Seamless loop" isOn=${form.isLoop}
        onValue=${(isOn) => making.set('isLoop', isOn)} /></div>
    </div>
    <div class="send"><details><summary>Advanced</summary>
      <div class="settings">
        ${models.length > 1 && html`<${Choice} ...${about('model')} label="Model" values=${[['', `${models[0].id} (default)`],
          ...models.slice(1).map((one) => [one.id, one.id])]} />`}
        <${Choice} ...${about('format')} label="Format" values=${limits.formats.map((one) => [one, one])} />
        <${Settings} settings=${further(model.settings)} values=${form.more} problem=${problem}
          onValue=${(name, text) => making.setMore(name, text)} />
      </div></details>
      <p class="estimate">${estimateText(state.estimate)}</p>
      <button class="primary big" type="submit" disabled=${isSending} aria-keyshortcuts="Control+Enter">
        Generate <kbd aria-hidden="true">Ctrl ↵</kbd></button>
    </div>
    <${Trouble} studio=${studio} />
    <${Flight} studio=${studio} />
  </form>`;
}

/** Bars and beats at a tempo, and how many samples that is. */
function Tempo({ form, model, about }) {
  const seconds = number(form.seconds);
  const isByTempo = form.bars !== '' && form.bpm !== '' && seconds > 0;
  return html`<fieldset class="tempo"><legend class="hidden">Length by tempo</legend><div class="joined">
    <${Text} ...${about('bars')} label="Bars" isNumber />
    <${Text} ...${about('beats')} label="Beats" isNumber />
    <${Text} ...${about('bpm')} label="BPM" isNumber /></div>
    <small>${isByTempo
      ? `${NUMBER.format(seconds)} s, ${NUMBER.format(Math.round(seconds * model.sample_rate))} samples`
      : 'sets the seconds'}</small>
  </fieldset>`;
}

/** Words of the prompt that the model doesn't know. */
function Notes({ estimate }) {
  const words = estimate?.unknown_words ?? [];
  return html`<p id="prompt-notes" class="notes warning" aria-live="polite">${words.length > 0
    && html`The model doesn't know: ${words.map((word, i) => html`${i > 0 && ', '}<mark>${word}</mark>`)}`}</p>`;
}

/** Why the last request was not taken; when a full queue may have room, and that the page can wait for it. */
function Trouble({ studio }) {
  const { problem, retry } = studio.state;
  const { jobs } = studio;
  if (!problem) return null;
  return html`<div class="trouble"><p role="alert" class="problem">${problem.message}</p>
    ${retry && html`<div class="row">
      ${retry.isAuto
        ? html`<span>Sent again in <span class="count">${retry.seconds} s</span></span>
            <${Button} text="Don't wait" onClick=${() => jobs.giveUp()} />`
        : html`<span>There may be room in <span class="count">${retry.seconds} s</span></span>
            <${Button} kind="primary" text="Send when there is room" onClick=${() => jobs.retry()} />`}</div>`}
  </div>`;
}

function estimateText(estimate) {
  if (typeof estimate?.seconds !== 'number') return '';
  const { seconds, wait_seconds: wait, peak_memory_bytes: bytes } = estimate;
  const parts = [`takes about ${seconds < 10 ? seconds.toFixed(1) : Math.ceil(seconds)} s`];
  if (wait >= 1) parts.push(`after ${Math.ceil(wait)} s for what comes first`);
  if (bytes) parts.push(`${(bytes / 2 ** 30).toFixed(1)} GiB of memory`);
  return parts.join(', ');
}

export function round(seconds) {
  return String(Math.floor(seconds * 100) / 100);
}
