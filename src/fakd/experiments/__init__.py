"""Many runs: the grid of networks, methods and seeds, its queue, and the table that comes of it."""
