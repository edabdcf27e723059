"""What a board needs, as data: one TOML per board."""
