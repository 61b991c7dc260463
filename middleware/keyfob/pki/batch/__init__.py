"""Fleets: certificates for every row of a CSV file, on all cores, and exactly one a row however often it is stopped."""
