"""Training: one loop, and a task per network that says what a batch and its loss are."""
