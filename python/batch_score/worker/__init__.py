"""What runs inside a worker: messages, the three stages, the process around them."""
