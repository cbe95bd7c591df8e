//! Private daemons in fresh namespaces, registries and images for tests.
