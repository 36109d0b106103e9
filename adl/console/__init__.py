"""What a person sees while something runs: progress, summaries, and how numbers are written."""
