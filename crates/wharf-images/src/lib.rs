//! Names to manifests: pull, load, save, unpack, remove, prune.
