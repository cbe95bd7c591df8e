//! `NOTIFY_SOCKET`: what the container's program tells the service manager that runs us (`sd_notify(3)`).
//!
//! As with runc the manager's own socket does not go in. The program finds one in a folder of the container's record, and who
//! starts it passes on that it is ready, with the number of its process as the manager counts.

use std::io::{self, Read as _};
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;

use oci_spec::runtime::Spec;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde_json::json;

use super::container::Container;

/// Where the program finds the folder.
const INSIDE: &str = "/run/notify";
/// The folder's name in the container's.
const FOLDER: &str = "notify";
const SOCKET: &str = "notify.sock";
/// How long the manager may take to hear us, as runc.
const PATIENCE: Timespec = Timespec {
    tv_sec: 30,
    tv_nsec: 0,
};

/// The socket of the manager, if there is one.
fn manager() -> Option<String> {
    let name = std::env::var("NOTIFY_SOCKET").ok();
    name.filter(|name| !name.is_empty())
}

/// Tells the program where to speak. `folder` is the container's.
pub(crate) fn tell(spec: &mut Spec, folder: &Path) -> Result<(), String> {
    let Some(process) = spec.process_mut().as_mut().filter(|_| manager().is_some()) else {
        return Ok(());
    };
    let mut env = process.env().clone().unwrap_or_default();
    env.push(format!("NOTIFY_SOCKET={INSIDE}/{SOCKET}"));
    process.set_env(Some(env));
    let mount = json!({
        "destination": INSIDE,
        "type": "bind",
        "source": folder.join(FOLDER),
        "options": ["bind", "nosuid", "noexec", "nodev", "ro"],
    });
    let mount = serde_json::from_value(mount).map_err(|error| error.to_string())?;
    let mut mounts = spec.mounts().clone().unwrap_or_default();
    mounts.push(mount);
    spec.set_mounts(Some(mounts));
    Ok(())
}

/// Makes what [`tell`] has mounted.
pub(crate) fn make_folder(folder: &Path) -> Result<(), String> {
    if manager().is_none() {
        return Ok(());
    }
    let path = folder.join(FOLDER);
    let made = std::fs::DirBuilder::new().mode(0o755).create(&path);
    made.map_err(|error| format!("mkdir {}: {error}", path.display()))
}

/// Somebody who listens to the program.
pub(crate) struct Notify {
    program: UnixDatagram,
    manager: UnixDatagram,
}

impl Notify {
    /// Listens; `None` if no manager is told of anything, or the program was not told where to speak.
    pub(crate) fn listen(container: &Container) -> Result<Option<Self>, String> {
        let folder = container.folder.join(FOLDER);
        let Some(name) = manager().filter(|_| folder.exists()) else {
            return Ok(None);
        };
        let failed = |error: io::Error| format!("NOTIFY_SOCKET: {error}");
        let manager = UnixDatagram::unbound().map_err(failed)?;
        let address = match name.strip_prefix('@') {
            Some(name) => SocketAddr::from_abstract_name(name),
            None => SocketAddr::from_pathname(&name),
        };
        let connected = address.and_then(|address| manager.connect_addr(&address));
        connected.map_err(failed)?;
        let program = listen_in(&folder).map_err(failed)?;
        Ok(Some(Self { program, manager }))
    }

    /// Waits until the program is ready, which the manager is told with `main` as its process, or the process behind `ended` has
    /// ended.
    pub(crate) fn pass_on(&self, ended: BorrowedFd<'_>, main: Option<i32>) -> Result<(), String> {
        let passed = self.ready(ended).and_then(|ready| match ready {
            Some(line) => self.say(&line, main),
            None => Ok(()),
        });
        passed.map_err(|error| format!("NOTIFY_SOCKET: {error}"))
    }

    fn ready(&self, ended: BorrowedFd<'_>) -> io::Result<Option<String>> {
        let mut buffer = [0; 4096];
        loop {
            let mut polled = [
                PollFd::new(&self.program, PollFlags::IN),
                PollFd::from_borrowed_fd(ended, PollFlags::IN),
            ];
            match poll(&mut polled, None) {
                Err(rustix::io::Errno::INTR) => continue,
                other => other?,
            };
            if polled[0].revents().is_empty() {
                return Ok(None);
            }
            let length = self.program.recv(&mut buffer)?;
            if let Some(line) = ready_line(&buffer[..length]) {
                return Ok(Some(line));
            }
        }
    }

    fn say(&self, ready: &str, main: Option<i32>) -> io::Result<()> {
        self.manager.send(format!("{ready}\n").as_bytes())?;
        if let Some(pid) = main {
            self.manager.send(format!("MAINPID={pid}\n").as_bytes())?;
        }
        self.wait_until_heard()
    }

    /// The manager closes what comes with these words when it has taken all that was said before: it looks at who has spoken, who
    /// must be there still.
    fn wait_until_heard(&self) -> io::Result<()> {
        let (mut ours, theirs) = io::pipe()?;
        let fds = [theirs.as_fd()];
        wharf_sys::socket::send(self.manager.as_fd(), b"BARRIER=1", &fds)?;
        drop(theirs);
        if poll(&mut [PollFd::new(&ours, PollFlags::IN)], Some(&PATIENCE))? == 0 {
            return Err(io::ErrorKind::TimedOut.into());
        }
        ours.read(&mut [0]).map(drop)
    }
}

/// By the folder's descriptor, as a socket's address has room for 107 bytes only. Whoever the program is may speak.
fn listen_in(folder: &Path) -> io::Result<UnixDatagram> {
    let opened = std::fs::File::open(folder)?;
    let socket = UnixDatagram::bind(format!("/proc/self/fd/{}/{SOCKET}", opened.as_raw_fd()))?;
    let all = std::fs::Permissions::from_mode(0o777);
    std::fs::set_permissions(folder.join(SOCKET), all)?;
    Ok(socket)
}

/// The line that says so.
fn ready_line(said: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(said);
    let line = text.lines().find(|line| line.starts_with("READY="))?;
    Some(line.to_owned())
}

#[cfg(test)]
mod tests {
    use super::ready_line;

    #[test]
    fn only_that_it_is_ready_is_passed_on() {
        assert_eq!(
            ready_line(b"STATUS=up\nREADY=1\nMAINPID=7").as_deref(),
            Some("READY=1")
        );
        assert_eq!(ready_line(b"STATUS=READY=1"), None);
    }
}
