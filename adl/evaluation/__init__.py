"""Scoring a checkpoint, and the predictors that it is compared with, on the images of a record."""
