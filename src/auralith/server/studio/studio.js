// What panels are given: the state, and everything that can be done with it.
import { get } from './api.js';
import { EDITING, Editing } from './editing.js';
import { JOBS, Jobs } from './jobs.js';
import { LINEAGE, Lineage } from './lineage.js';
import { MAKING, Making } from './making.js';
import { OUTFITTING, Outfitting } from './outfitting.js';
import { QUEUEING, Queueing } from './queueing.js';
import { REMEMBERING, Remembering } from './remembering.js';
import { SOUNDS, Sounds } from './sounds.js';
import { Store } from './store.js';
import { TRACING, Tracing } from './tracing.js';

export class Studio extends Store {
  jobs = new Jobs(this);
  lineage = new Lineage(this);
  sounds = new Sounds(this, this.jobs);
  making = new Making(this);
  editing = new Editing(this);
  remembering = new Remembering(this);
  queueing = new Queueing(this);
  outfitting = new Outfitting(this);
  tracing = new Tracing(this);

  constructor() {
    super({
      models: [], limits: null, status: '', needsKey: false, ...MAKING, ...JOBS, ...LINEAGE, ...SOUNDS, ...EDITING,
      ...REMEMBERING, ...QUEUEING, ...OUTFITTING, ...TRACING,
    });
    this.start = this.guarded(this.start.bind(this));
  }

  /** Read what the server has, and show the newest sound. */
  async start() {
    const [{ models }, limits] = await Promise.all([get('/v1/models'), get('/v1/limits')]);
    this.change({ models, limits, needsKey: false, status: '' });
    await this.jobs.refresh();
    const newest = this.state.jobs.find((job) => job.outputs.length > 0);
    if (newest) this.sounds.open(newest);
    this.queueing.resume();
  }
}
