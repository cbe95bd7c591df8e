//! Links `wharf` at fixed addresses, unless `WHARF_PIE` is set.
//!
//! A position-independent program of this size has 55,000 addresses to mend in 250 pages before its `main`: 0.8 ms of each
//! command, which is as long as the rest of a short one takes. containerd, runc, podman and Docker's client are linked so, too;
//! dockerd is not. Heap, stack and libraries have random places either way; who wants the program to have one sets `WHARF_PIE=1`.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=WHARF_PIE");
    // The flag is known to GNU's linkers; musl's targets are static, and fixed anyway.
    let gnu = std::env::var("CARGO_CFG_TARGET_ENV").is_ok_and(|env| env == "gnu");
    if gnu && std::env::var_os("WHARF_PIE").is_none() {
        println!("cargo:rustc-link-arg-bins=-no-pie");
    }
}
