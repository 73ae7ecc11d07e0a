"""The worker: takes jobs from the queue, each in a process of its own."""
