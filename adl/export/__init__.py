"""Files for other programs: writing them, proving that they equal the checkpoint, running them."""
