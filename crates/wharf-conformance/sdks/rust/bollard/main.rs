//! bollard against a daemon: nearly every method of it at least once, and what it says.
//!
//!     bollard SOCKET REGISTRY API-VERSION
//!
//! REGISTRY is HOST:PORT as the daemon reaches it, with `busybox` in it; the daemon holds the image `busybox` and nothing else.
//! Two daemons print the same.

mod builds;
mod containers;
mod images;
mod networks;
mod streams;
mod swarms;
mod system;
mod told;
mod volumes;

use bollard::{ClientVersion, Docker};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let words: Vec<String> = std::env::args().collect();
    let [_, socket, registry, version] = words.as_slice() else {
        return Err("bollard SOCKET REGISTRY API-VERSION".into());
    };
    let (major, minor) = version.split_once('.').ok_or("no version")?;
    let version = ClientVersion {
        major_version: major.parse()?,
        minor_version: minor.parse()?,
    };
    let docker = Docker::connect_with_unix(socket, 60, &version)?;
    system::tell(&docker, socket).await;
    images::tell(&docker, registry).await;
    builds::tell(&docker).await;
    containers::tell(&docker).await;
    streams::tell(&docker).await;
    networks::tell(&docker).await;
    volumes::tell(&docker).await;
    swarms::tell(&docker).await;
    Ok(())
}
