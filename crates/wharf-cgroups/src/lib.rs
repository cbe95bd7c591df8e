//! Control groups v2, v1 and hybrid: limits, devices, freezer and statistics.
