//! Records in one SQLite file: versioned JSON documents in typed tables.
