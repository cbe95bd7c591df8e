//! Safe Linux calls: mount API, namespaces, pidfd, in-root paths. The only crate with unsafe.
