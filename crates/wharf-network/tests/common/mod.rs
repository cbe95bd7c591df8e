//! A host, a neighbour and containers, all in fresh network namespaces of one test.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, missing_docs)]

pub mod bus;

use std::fs::File;
use std::future::Future;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::process::Command;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use wharf_netlink::{
    LinkChange, LinkName, Peer, Route, Veth, add_address, add_route, add_veth, delete_link,
    set_link,
};
use wharf_network::{Config, EndpointConfig, HostPort, Networks, PortBinding, Protocol};
use wharf_records::Db;

/// Host's address towards its neighbour, and the neighbour's own.
pub const HOST: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
pub const NEIGHBOUR: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
/// Long enough for any answer that comes at all.
const PATIENCE: Duration = Duration::from_secs(10);
/// For answers that must not come: only a silent drop waits so long.
const IMPATIENCE: Duration = Duration::from_millis(700);

/// A machine in a fresh network namespace. The thread that made it is inside.
pub struct World {
    pub folder: tempfile::TempDir,
    pub neighbour: OwnedFd,
}

impl World {
    /// Moves the calling thread into a new namespace with loopback and a link to a neighbour.
    pub fn enter() -> Self {
        let neighbour = thread::spawn(new_namespace).join().unwrap();
        new_namespace();
        let world = Self {
            folder: tempfile::tempdir().unwrap(),
            neighbour,
        };
        world.plug_in(HOST);
        world
    }

    /// Pulls the link to the neighbour out.
    pub fn pull_out(&self) {
        let mut route = Route::open().unwrap();
        route.apply(&[delete_link(LinkName::Name("lan0"))]).unwrap();
    }

    /// A link to the neighbour, with this address of the host's.
    pub fn plug_in(&self, host: Ipv4Addr) {
        let mut route = Route::open().unwrap();
        let veth = Veth {
            name: "lan0",
            mtu: 1500,
            peer: Peer {
                name: "lan0",
                netns: self.neighbour.as_fd(),
            },
        };
        route.apply(&[add_veth(&veth)]).unwrap();
        configure(host, None);
        within(&self.neighbour, || configure(NEIGHBOUR, Some(host)));
    }

    /// A daemon's networks over the records of this world.
    pub fn open(&self, config: Config) -> Networks {
        let db = Db::open(&self.folder.path().join("wharf.db")).unwrap();
        Networks::open(db, config).unwrap()
    }

    /// Opens the networks and makes them ready.
    pub async fn start(&self) -> Networks {
        let networks = self.open(Config::default());
        networks.restore(&[]).await.unwrap();
        networks
    }
}

/// Runs a test on a runtime whose threads are all in the calling thread's namespace.
pub fn run<T>(body: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(body)
}

#[expect(
    deprecated,
    reason = "its replacement is unsafe for flags that are not used here"
)]
pub fn new_namespace() -> OwnedFd {
    rustix::thread::unshare(rustix::thread::UnshareFlags::NEWNET).unwrap();
    let up = LinkChange {
        up: true,
        ..LinkChange::default()
    };
    Route::open()
        .unwrap()
        .apply(&[set_link(LinkName::Name("lo"), &up)])
        .unwrap();
    File::open("/proc/thread-self/ns/net").unwrap().into()
}

fn configure(ip: Ipv4Addr, gateway: Option<Ipv4Addr>) {
    let mut route = Route::open().unwrap();
    let index = route.link("lan0").unwrap().unwrap().index;
    let up = LinkChange {
        up: true,
        ..LinkChange::default()
    };
    let mut requests = vec![
        set_link(LinkName::Index(index), &up),
        add_address(index, format!("{ip}/24").parse().unwrap()),
    ];
    if let Some(gateway) = gateway {
        requests.push(add_route(
            "0.0.0.0/0".parse().unwrap(),
            Some(gateway.into()),
            Some(index),
        ));
    }
    route.apply(&requests).unwrap();
}

/// Runs `body` on a thread inside another namespace.
pub fn within<T: Send>(netns: &OwnedFd, body: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        scope
            .spawn(|| {
                move_into_link_name_space(netns.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
                body()
            })
            .join()
            .unwrap()
    })
}

/// Serves TCP inside a namespace for the rest of the test: tells each client the address it comes from, and
/// sends back one line.
pub fn serve_tcp(netns: &OwnedFd, port: u16) {
    let netns = netns.try_clone().unwrap();
    let (ready, wait) = mpsc::channel();
    thread::spawn(move || {
        move_into_link_name_space(netns.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
        let listener = TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)).unwrap();
        ready.send(()).unwrap();
        for client in listener.incoming() {
            let mut client = client.unwrap();
            let from = client.peer_addr().unwrap().ip().to_canonical();
            let mut line = [0; 4];
            if client.read_exact(&mut line).is_ok() {
                let _ = write!(client, "{from} {}", String::from_utf8_lossy(&line));
            }
        }
    });
    wait.recv().unwrap();
}

/// As [`serve_tcp`], with datagrams.
pub fn serve_udp(netns: &OwnedFd, port: u16) {
    let netns = netns.try_clone().unwrap();
    let (ready, wait) = mpsc::channel();
    thread::spawn(move || {
        move_into_link_name_space(netns.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port)).unwrap();
        ready.send(()).unwrap();
        let mut buffer = vec![0; 1 << 16];
        while let Ok((length, client)) = socket.recv_from(&mut buffer) {
            let text = format!(
                "{} {}",
                client.ip(),
                String::from_utf8_lossy(&buffer[..length])
            );
            let _ = socket.send_to(text.as_bytes(), client);
        }
    });
    wait.recv().unwrap();
}

/// What a TCP server says from here; an error if it cannot be reached.
pub fn ask_tcp(address: impl Into<SocketAddr>) -> std::io::Result<String> {
    exchange(address.into(), PATIENCE)
}

/// Whether a TCP server can be reached from here.
pub fn reaches_tcp(address: impl Into<SocketAddr>) -> bool {
    exchange(address.into(), IMPATIENCE).is_ok()
}

/// As [`ask_tcp`], with this address as the client's.
pub fn ask_tcp_from(client: Ipv4Addr, server: (Ipv4Addr, u16)) -> std::io::Result<String> {
    use rustix::net::{AddressFamily, SocketType, bind, connect, socket};
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None)?;
    bind(&socket, &SocketAddr::from((client, 0)))?;
    connect(&socket, &SocketAddr::from(server))?;
    answer(socket.into(), PATIENCE)
}

fn exchange(address: SocketAddr, patience: Duration) -> std::io::Result<String> {
    answer(TcpStream::connect_timeout(&address, patience)?, patience)
}

fn answer(mut stream: TcpStream, patience: Duration) -> std::io::Result<String> {
    stream.set_read_timeout(Some(patience))?;
    stream.write_all(b"ping")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    if text.is_empty() {
        return Err(std::io::ErrorKind::UnexpectedEof.into());
    }
    Ok(text)
}

/// What a UDP server says from here.
pub fn ask_udp(address: impl Into<SocketAddr>) -> std::io::Result<String> {
    let answer = send_udp(address.into(), b"ping")?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// What a UDP server says from here to a message of any length.
pub fn send_udp(address: SocketAddr, message: &[u8]) -> std::io::Result<Vec<u8>> {
    let any: SocketAddr = if address.is_ipv4() {
        (Ipv4Addr::UNSPECIFIED, 0).into()
    } else {
        (Ipv6Addr::UNSPECIFIED, 0).into()
    };
    let socket = UdpSocket::bind(any)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.connect(address)?;
    socket.send(message)?;
    let mut buffer = vec![0; 1 << 16];
    let length = socket.recv(&mut buffer)?;
    buffer.truncate(length);
    Ok(buffer)
}

/// `-p [host ip:]host:container[/protocol]`.
pub fn binding(host: u16, container: u16, protocol: Protocol) -> PortBinding {
    PortBinding {
        protocol,
        container_port: container,
        host_ip: None,
        host_port: HostPort::Exact(host),
    }
}

pub fn named(name: &str, ports: &[PortBinding]) -> EndpointConfig {
    EndpointConfig {
        name: name.to_owned(),
        ports: ports.to_vec(),
        ..EndpointConfig::default()
    }
}

/// Whether the kernel lets a table be one socket's alone (Linux 6.9).
pub fn nft_owns() -> bool {
    let release = rustix::system::uname();
    let release = release.release().to_string_lossy().into_owned();
    let mut numbers = release.split(['.', '-']).map(|part| part.parse().ok());
    (numbers.next().flatten(), numbers.next().flatten()) >= (Some(6), Some(9))
}

/// What `nft` says about this namespace, where it is installed.
pub fn nft_list() -> Option<String> {
    let output = Command::new("nft")
        .args(["list", "ruleset"])
        .output()
        .ok()?;
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let text = String::from_utf8(output.stdout).unwrap();
    // Whose the table is depends on the kernel (Linux 6.9); how that is shown, on `nft`.
    let text = text.replace("\tflags owner,persist\n\n", "");
    let text = text.replace("\tflags owner\n\n", "");
    let (first, rest) = text.split_once('\n').unwrap_or_default();
    let first = first.split(" #").next().unwrap_or_default();
    Some(format!("{first}\n{rest}"))
}

/// Names of the links in this namespace.
pub fn link_names() -> Vec<String> {
    let links = Route::open().unwrap().links().unwrap();
    links.into_iter().map(|link| link.name).collect()
}
