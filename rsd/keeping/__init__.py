"""The lake over the years: verify and repair, compact, purge, change the key, back up, restore."""
