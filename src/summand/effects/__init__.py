"""The formulas of the papers, a file each: effects as per-image coefficients times fixed directions."""
