//! Containers and all that acts on them, without HTTP.
