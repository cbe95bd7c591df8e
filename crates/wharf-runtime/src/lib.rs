//! OCI spec to process: namespaces, mounts, cgroup, seccomp, exec.
