"""From a trained run to a bundle that a board can run."""
