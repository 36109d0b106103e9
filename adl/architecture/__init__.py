"""Which network: genotypes, sizes and what they cost. Needs no MindSpore."""

from adl.architecture.genotype import Architecture as Architecture
