//! Builds the catalogue's `hello-world`: a static program of a few hundred bytes, assembled here by hand, in an
//! ordinary OCI image. No compiler or linker for the target is needed, and both platforms are always there.

use std::path::{Path, PathBuf};
use std::{env, fs};

#[path = "build/hello.rs"]
mod hello;
#[path = "build/pack.rs"]
mod pack;

fn main() {
    println!("cargo::rerun-if-changed=build");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    for machine in [hello::Machine::Amd64, hello::Machine::Arm64] {
        let program = hello::program(&machine);
        let image = pack::image(machine.architecture(), &program);
        write(&out, machine.architecture(), "layer.tar.gz", &image.layer);
        write(&out, machine.architecture(), "config.json", &image.config);
        write(
            &out,
            machine.architecture(),
            "manifest.json",
            &image.manifest,
        );
    }
}

fn write(out: &Path, architecture: &str, name: &str, bytes: &[u8]) {
    let path = out.join(format!("hello-{architecture}-{name}"));
    fs::write(&path, bytes).expect("OUT_DIR is writable");
}
