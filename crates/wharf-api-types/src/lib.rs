//! Engine API JSON exactly as on the wire; no logic.
