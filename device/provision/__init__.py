"""From a fresh system to a device, and back. Standard library alone: a pack runs it before anything else is there."""
