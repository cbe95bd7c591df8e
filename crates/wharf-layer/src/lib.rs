//! Layer archives: apply, diff, whiteouts, compression.
