"""Read and write trajectories and scenarios in every format that is known."""
