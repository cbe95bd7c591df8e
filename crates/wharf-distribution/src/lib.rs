//! Registry client: pull, push, authentication, mirrors.
