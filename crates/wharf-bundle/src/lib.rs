//! Container spec to OCI spec: a pure function.
