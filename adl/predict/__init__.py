"""The trained model on photographs and videos that people bring, and on the benchmark's test images."""
