//! The messages between daemon and shim, versioned.
