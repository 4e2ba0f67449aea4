"""The job: decisions as pure functions and values, one loop that acts on them, one place that wires all."""
