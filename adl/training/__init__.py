"""Training: loss, schedule, optimizer, the step, the loop over the steps, and the state that a run resumes from."""
