//! Starts a shim for a bundle; a handle to wait, kill, exec, resize, attach.
