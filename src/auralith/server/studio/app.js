// The studio: state, and what keys and buttons do. What is kept is kept by the server.
import { call, events, get, keepKey, keepSent, sent, submit, upload } from './api.js';
import { EMPTY, Form, fromRequest, toRequest } from './form.js';
import { Hear } from './hear.js';
import { History, isFinal } from './history.js';
import { Component, html, render } from './html.js';
import { Player, cut, decode } from './player.js';

const PAUSE = 1000; // milliseconds before a lost connection is tried again

class Studio extends Component {
  state = {
    models: [], limits: null, jobs: [], cursor: null, form: EMPTY, problem: null, isSending: false,
    shown: null, index: 0, selection: null, edit: { strength: '0.5', more: '2' }, status: '', needsKey: false,
  };
  player = new Player();
  buffers = new Map();
  expected = new Map(); // job → the file that it should make again
  watched = null;

  componentDidMount() {
    for (const kind of ['play', 'pause', 'loopchange']) this.player.addEventListener(kind, () => this.setState({}));
    document.addEventListener('keydown', this.onKey);
    for (const kind of ['dragover', 'drop']) document.addEventListener(kind, this.onDrag);
    window.addEventListener('focus', () => this.state.limits && this.guarded(() => this.refresh())());
    this.start();
  }

  start = this.guarded(async () => {
    const [{ models }, limits] = await Promise.all([get('/v1/models'), get('/v1/limits')]);
    this.setState({ models, limits, needsKey: false, status: '' });
    await this.refresh();
    const newest = this.state.jobs.find((job) => job.outputs.length > 0);
    if (newest) this.open(newest);
  });

  /** Return a function that does something and says in one line why it could not. */
  guarded(act) {
    return async (...values) => {
      try {
        return await act(...values);
      } catch (error) {
        this.setState({ status: error.message, needsKey: error.status === 401 });
      }
    };
  }

  async change(values) {
    await new Promise((done) => this.setState(values, done));
  }

  async refresh() {
    const { jobs, cursor } = await get('/v1/jobs?limit=20');
    const known = new Set(jobs.map((job) => job.id));
    const last = jobs.at(-1)?.created_at ?? '';
    const older = this.state.jobs.filter((job) => !known.has(job.id) && job.created_at < last);
    if (!older.length) this.setState({ cursor });
    await this.learn([...jobs, ...older]);
    this.watch();
  }

  older = this.guarded(async () => {
    const { jobs, cursor } = await get(`/v1/jobs?limit=20&cursor=${this.state.cursor}`);
    const known = new Set(this.state.jobs.map((job) => job.id));
    await this.change({ jobs: [...this.state.jobs, ...jobs.filter((job) => !known.has(job.id))], cursor });
  });

  /** Follow the job that runs next: one stream for a page, since browsers open few connections to a server. */
  async watch() {
    const job = this.state.jobs.findLast((one) => !isFinal(one));
    if (this.watched || !job) return;
    this.watched = job.id;
    let isLost = false;
    for (let after = '0'; ;) {
      try {
        let isOver = isFinal(await this.update(job.id));
        if (isLost) this.setState({ status: 'the connection is there again' });
        isLost = false;
        for await (const event of isOver ? [] : events(job.id, after)) {
          after = event.id ?? after;
          if (event.kind === 'step') this.step(job.id, event.data);
          else isOver = isFinal(await this.update(job.id));
          if (isOver) break;
        }
        if (isOver) break;
      } catch (error) {
        if (error.status === 404) break; // deleted
        isLost = true;
        this.setState({ status: 'the connection is lost; trying again' });
      }
      await new Promise((done) => setTimeout(done, PAUSE));
    }
    this.watched = null;
    await this.guarded(() => this.refresh())();
  }

  step(id, progress) {
    const jobs = this.state.jobs.map((job) => (job.id === id ? { ...job, status: 'running', progress } : job));
    this.setState({ jobs });
  }

  async update(id) {
    const job = await get(`/v1/jobs/${id}`);
    await this.learn(this.state.jobs.map((one) => (one.id === id ? job : one)));
    return job;
  }

  /** Take the jobs as they are now: say what changed; show the sounds of this tab as they come, unless another one plays. */
  async learn(jobs) {
    const before = new Map(this.state.jobs.map((job) => [job.id, job]));
    const own = sent();
    await this.change({ jobs });
    for (const job of jobs) {
      const old = before.get(job.id);
      if (!old || old === job) continue;
      if (old.status !== job.status) this.setState({ status: `${job.request.prompt}: ${this.outcome(job)}` });
      const isShown = this.state.shown?.id === job.id;
      if (job.outputs.length > old.outputs.length && (isShown || (this.player.paused && own.includes(job.id)))) this.open(job);
    }
  }

  outcome(job) {
    const file = this.expected.get(job.id);
    const isComparable = job.request.format !== 'ogg'; // each stream of Ogg has a number of its own
    if (job.status !== 'succeeded' || !file || !isComparable) return job.status;
    const isSame = job.outputs[0].sha256 === file.sha256;
    return `succeeded, ${isSame ? 'the same file, byte for byte' : 'but not the same bytes: another model, device or version made that file'}`;
  }

  open = (job) => this.show({ id: job.id, name: job.request.prompt, sounds: job.outputs });

  show = this.guarded(async (shown) => {
    const isSame = this.state.shown?.id === shown.id;
    if (!isSame) this.player.pause();
    await this.change({ shown, ...(isSame ? {} : { index: 0, selection: null }) });
    if (!isSame) this.player.setLoop(false);
    for (const sound of shown.sounds) {
      if (!this.buffers.has(sound.id)) {
        const bytes = await (await call(sound.url)).arrayBuffer();
        this.buffers.set(sound.id, await decode(bytes, sound.sample_rate));
      }
      if (this.state.shown !== shown) return;
      if (sound === shown.sounds[this.state.index]) this.player.load(this.buffers.get(sound.id));
      this.setState({});
    }
    const kept = new Set(shown.sounds.map((sound) => sound.id));
    for (const id of this.buffers.keys()) if (!kept.has(id)) this.buffers.delete(id);
  });

  pick = (index) => {
    const buffer = this.buffers.get(this.state.shown?.sounds[index]?.id);
    if (!buffer) return;
    this.player.load(buffer);
    this.setState({ index });
  };

  select = (selection) => {
    this.setState({ selection });
    if (this.player.isLooping) this.player.setLoop(true, selection);
  };

  loop = () => this.player.setLoop(!this.player.isLooping, this.state.selection);

  /** Send a request; what is wrong with it is said below the form. */
  async send(body, file = null) {
    if (this.state.isSending) return;
    await this.change({ isSending: true, problem: null, status: 'sent' });
    try {
      const job = await submit(body);
      keepSent(job.id);
      if (file) this.expected.set(job.id, file);
      const others = this.state.jobs.filter((one) => one.id !== job.id);
      await this.change({ jobs: [{ ...job, outputs: [] }, ...others], status: `accepted, seed ${job.request.seed}` });
      this.watch();
    } catch (error) {
      this.setState({ problem: error, status: '', needsKey: error.status === 401 });
      document.getElementById(error.field ?? '')?.focus();
    } finally {
      this.setState({ isSending: false });
    }
  }

  generate = () => this.send(toRequest(this.state.form));

  make(edit) {
    const source = this.state.shown.sounds[this.state.index];
    return this.send(toRequest(this.state.form, { ...edit, source: source.id }));
  }

  extend = (direction) => {
    const { seconds } = this.state.shown.sounds[this.state.index];
    return this.make({ task: 'extend', direction, seconds: seconds + Number(this.state.edit.more) });
  };

  save(blob, name) {
    const link = Object.assign(document.createElement('a'), { href: URL.createObjectURL(blob), download: name });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
  }

  download = this.guarded(async () => {
    const sound = this.state.shown.sounds[this.state.index];
    const response = await call(sound.url);
    const name = /filename="([\w.-]+)"/.exec(response.headers.get('Content-Disposition'))?.[1];
    this.save(await response.blob(), name ?? `auralith-${sound.id}`);
  });

  trim = () => {
    const { shown, index, selection } = this.state;
    const sound = shown.sounds[index];
    this.save(cut(this.buffers.get(sound.id), ...selection), `auralith-${sound.id}-cut.wav`);
  };

  remove = this.guarded(async (job) => {
    await call(`/v1/jobs/${job.id}`, { method: 'DELETE' });
    await this.change({ jobs: isFinal(job) ? this.state.jobs.filter((one) => one.id !== job.id) : this.state.jobs });
    if (isFinal(job) && this.state.shown?.id === job.id) {
      this.player.pause();
      this.setState({ shown: null });
    }
    await this.refresh();
  });

  copy = (job) => {
    this.setState({ form: fromRequest(job.request), problem: null, status: 'settings copied' });
    document.getElementById('prompt').focus();
  };

  take = this.guarded(async (file) => {
    this.setState({ status: `sending ${file.name}` });
    const asset = await upload(file); // its request has been read and checked by the server
    this.buffers.set(asset.id, await decode(await file.arrayBuffer(), asset.sample_rate));
    await this.show({ id: asset.id, name: file.name, sounds: [asset] });
    this.setState({ status: `${file.name} is there: repaint, vary or extend it` });
  });

  onFile = (event) => {
    const [file] = event.target.files;
    event.target.value = ''; // so that the same one can be chosen again
    if (file) this.take(file);
  };

  onDrag = (event) => {
    if (!event.dataTransfer?.types.includes('Files')) return; // text may go into a field
    event.preventDefault();
    if (event.type === 'drop') this.take(event.dataTransfer.files[0]);
  };

  onKey = (event) => {
    if ((event.ctrlKey || event.metaKey) && event.key === 'Enter') {
      event.preventDefault();
      document.querySelector('form.card')?.requestSubmit();
      return;
    }
    if (event.ctrlKey || event.metaKey || event.altKey || !this.state.shown) return;
    if (event.target.closest('input:not([type=checkbox]):not([type=range]), textarea, select')) return;
    if (event.key === ' ') {
      if (event.target.closest('button, summary, input')) return; // presses it
      event.preventDefault();
      this.player.toggle();
    } else if (event.key.toLowerCase() === 'l') this.loop();
    else if (/^[1-9]$/.test(event.key)) this.pick(Number(event.key) - 1);
  };

  render(_, { models, limits, jobs, cursor, form, problem, isSending, shown, index, selection, edit, status, needsKey }) {
    const on = {
      pick: this.pick, select: this.select, loop: this.loop, download: this.download, trim: this.trim, extend: this.extend,
      copy: this.copy, again: (file) => this.send(file.request, file),
      repaint: () => this.make({ task: 'inpaint', regions: [selection] }),
      vary: () => this.make({ task: 'vary', strength: Number(edit.strength) }),
      edit: (values) => this.setState({ edit: { ...edit, ...values } }),
    };
    const own = sent();
    const running = jobs.findLast((job) => !isFinal(job) && own.includes(job.id));
    const buffer = this.buffers.get(shown?.sounds[index]?.id);
    return html`<header><h1>Auralith Studio</h1>
        <label class="file">Open a sound <input type="file" accept="audio/*"
          onChange=${this.onFile} /></label></header>
      <p role="status" class="status">${status}</p>
      ${needsKey && html`<${Key} onKey=${(key) => { keepKey(key); this.start(); }} />`}
      ${limits && html`<main>
        <div class="work">
          <${Form} form=${form} models=${models} limits=${limits} problem=${problem} isSending=${isSending} running=${running}
            onChange=${(next) => this.setState({ form: next })} onSubmit=${this.generate} />
          ${shown && html`<${Hear} shown=${shown} index=${index} buffer=${buffer} selection=${selection}
            player=${this.player} form=${form} edit=${edit} on=${on} />`}
        </div>
        <${History} jobs=${jobs} cursor=${cursor} shown=${shown?.id} on=${{
          open: this.open, copy: this.copy, again: (job) => this.send(job.request), remove: this.remove, older: this.older }} />
      </main>`}`;
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

render(html`<${Studio} />`, document.body);
