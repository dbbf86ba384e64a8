"""A run folder: its git repository, its journal of effects, and all of it read back as a study."""
