"""The worker: takes jobs from the queue, runs them on loaded models, writes MP4s and what it measured."""
