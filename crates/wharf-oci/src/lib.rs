//! Image, runtime and distribution words: digests, references, platforms, manifests.
