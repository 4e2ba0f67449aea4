"""Does nothing: what is left is the cost of a mini-batch."""


def run(mini_batch):
    """Gives back what it got."""
    return mini_batch
