"""What the shell offers on TAB for an override: groups, choices, keys, and registered names with their options."""
