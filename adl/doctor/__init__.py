"""Is this machine, with the present parameters, one on which the pipeline can run?"""
