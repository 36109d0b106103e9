"""The trained model at work: the exported file, photographs and videos, the benchmark's zip."""
