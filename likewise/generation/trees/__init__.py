"""A decision tree for each column of a row, given those before it: fitting, sampling, densities, particles."""
