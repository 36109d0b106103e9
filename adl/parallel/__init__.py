"""Work shared by several processes: who this one is, and sums over all of them."""
