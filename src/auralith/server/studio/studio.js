// What panels are given: the state, and everything that can be done with it.
import { get } from './api.js';
import { EDITING, Editing } from './editing.js';
import { JOBS, Jobs } from './jobs.js';
import { LINEAGE, Lineage } from './lineage.js';
import { MAKING, Making } from './making.js';
import { SOUNDS, Sounds } from './sounds.js';
import { Store } from './store.js';

export class Studio extends Store {
  jobs = new Jobs(this);
  lineage = new Lineage(this);
  sounds = new Sounds(this, this.jobs);
  making = new Making(this);
  editing = new Editing(this);

  constructor() {
    super({ models: [], limits: null, status: '', needsKey: false, ...MAKING, ...JOBS, ...LINEAGE, ...SOUNDS, ...EDITING });
    this.start = this.guarded(this.start.bind(this));
  }

  /** Read what the server has, and show the newest sound. */
  async start() {
    const [{ models }, limits] = await Promise.all([get('/v1/models'), get('/v1/limits')]);
    this.change({ models, limits, needsKey: false, status: '' });
    await this.jobs.refresh();
    const newest = this.state.jobs.find((job) => job.outputs.length > 0);
    if (newest) this.sounds.open(newest);
  }
}
