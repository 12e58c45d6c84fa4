// State that every panel is drawn from. A change is there at once; whoever listens is told afterwards.
export class Store extends EventTarget {
  constructor(state) {
    super();
    this.state = state;
  }

  /** Replace members of the state. */
  change(values) {
    this.state = { ...this.state, ...values };
    this.dispatchEvent(new Event('change'));
  }

  /** Show a line to everybody, and read it to those who listen. */
  say(status) {
    this.change({ status });
  }

  /** Return a function that does something, and says in one line why it could not. */
  guarded(act) {
    return async (...values) => {
      try {
        return await act(...values);
      } catch (error) {
        this.change({ status: error.message, needsKey: error.status === 401 });
      }
    };
  }
}
