//! Overlay snapshots by chain id, and the writable layers of containers.
