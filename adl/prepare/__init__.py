"""From raw files to records: which files are there, what is wrong with them, conversion."""
