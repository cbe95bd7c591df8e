//! OCI and Docker seccomp profiles compiled to BPF.
