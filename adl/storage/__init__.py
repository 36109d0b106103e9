"""Copying to and from storage that is no folder: OBS, and whatever else speaks S3."""
