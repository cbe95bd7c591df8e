//! What comes from the shim, for as long as it lives.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use wharf_shim_api::{MAX_FILE, MAX_PACKET, Message};
use wharf_sys::{memfd, socket};

use super::{Connection, Socket, is_gone, listened_to, lock, tell};
use crate::folder::{TaskRecord, exit_status};
use crate::{ExitStatus, load};

/// A connection that lasted less is a sign that the next one may not last either.
const STABLE: Duration = Duration::from_secs(1);
/// The first pause before another connection, if the last ones did not last.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
/// The longest: a shim that takes none for long is asked no more often.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Takes what comes, on one connection after the other, until the shim has gone.
pub(super) async fn read(connection: Arc<Connection>, record: Option<TaskRecord>) {
    // Filled by the kernel only as far as packets are long, so the pages behind are never touched.
    let mut buffer = vec![0; MAX_PACKET];
    let mut short = 0;
    loop {
        let socket = connection.socket.borrow().clone();
        let Some(socket) = socket else { return };
        let begun = Instant::now();
        listen(&connection, &socket, &mut buffer).await;
        short = match begun.elapsed() < STABLE {
            true => short + 1,
            false => 0,
        };
        tokio::time::sleep(pause(short)).await;
        match again(&connection).await {
            Some(socket) => connection.reconnected(socket).await,
            None => break,
        }
    }
    close(&connection, record).await;
}

/// How long to wait for the next connection after so many in a row that did not last: one may have its reason.
fn pause(short: u32) -> Duration {
    match short {
        0 | 1 => Duration::ZERO,
        more => FIRST_PAUSE
            .saturating_mul(1 << (more - 2).min(16))
            .min(LONGEST_PAUSE),
    }
}

/// Another connection to a shim that has closed this one and lives. One that has left its record is about to end.
async fn again(connection: &Connection) -> Option<Socket> {
    let folder = connection.folder();
    if exit_status(&folder).is_some() || !crate::shim::lives(&folder) {
        return None;
    }
    let socket = loop {
        match load::dial_when_ready(&folder).await {
            Ok(found) => break found?,
            Err(error) => tracing::warn!(folder = %name_of(connection), %error, "connect again"),
        }
    };
    tracing::warn!(folder = %name_of(connection), "a shim has closed the connection, and lives");
    listened_to(socket).ok()
}

/// Says that nothing more comes from us, so that the shim closes too. Until then what it has sent already is heard.
pub(super) fn hang_up(connection: &Connection, socket: &Socket, error: &io::Error) {
    tracing::warn!(folder = %name_of(connection), %error, "the connection to a shim is given up");
    // One that is closed already is no matter.
    let _ = rustix::net::shutdown(socket.get_ref(), rustix::net::Shutdown::Write);
}

/// Takes what comes until the shim closes. Once a message is lost, which may be an answer, nobody can tell whose the later
/// answers are; all else that was sent still counts, however much of it is lost.
async fn listen(connection: &Arc<Connection>, socket: &Socket, buffer: &mut [u8]) {
    let mut in_order = true;
    loop {
        let message = match take(socket, buffer).await {
            Ok((0, _)) => return,
            Ok((length, descriptors)) => understand(&buffer[..length], descriptors),
            // Longer than any of ours. The packet is taken all the same.
            Err(error) if error.kind() == io::ErrorKind::InvalidData => Err(error),
            Err(error) => {
                connection.unheard.store(true, Ordering::Relaxed);
                return hang_up(connection, socket, &error);
            }
        };
        match message {
            // A newer shim's, of which we need not know.
            Ok(None) => {
                tracing::warn!(folder = %name_of(connection), "a message of a shim is not understood")
            }
            Ok(Some(Message::Reply(_))) if !in_order => {}
            Ok(Some(message)) => heard(connection, message),
            Err(error) => {
                connection.unheard.store(true, Ordering::Relaxed);
                if std::mem::take(&mut in_order) {
                    hang_up(connection, socket, &error);
                }
            }
        }
    }
}

fn heard(connection: &Arc<Connection>, message: Message) {
    match message {
        Message::Reply(reply) => connection.answered(reply),
        Message::OutOfMemory(times) => connection.out_of_memory(times),
        Message::Exited { exec, status } => connection.ended(exec, (&status).into()),
        Message::Made { exec, reply } => connection.made(&exec, reply),
        // It is opened where it is taken.
        Message::Long => {}
    }
}

/// A message that is longer than a packet, from its file.
fn long(descriptors: Vec<OwnedFd>) -> io::Result<Message> {
    let file = descriptors.into_iter().next();
    let file = file.ok_or_else(|| io::Error::other("its file has not come"))?;
    Ok(serde_json::from_slice(&memfd::read(file, MAX_FILE)?)?)
}

/// `None` if it is no message that is known here.
fn understand(packet: &[u8], descriptors: Vec<OwnedFd>) -> io::Result<Option<Message>> {
    match serde_json::from_slice(packet) {
        Ok(Message::Long) => long(descriptors).map(Some),
        message => Ok(message.ok()),
    }
}

/// The folder's name by now, for the log.
fn name_of(connection: &Connection) -> String {
    let name = std::fs::read_link(connection.folder());
    name.map_or_else(|error| error.to_string(), |name| name.display().to_string())
}

async fn take(socket: &Socket, buffer: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
    loop {
        let mut ready = socket.readable().await?;
        match ready.try_io(|socket| socket::receive(socket.as_fd(), buffer)) {
            // It has closed without having read all. What it has said before is there still, and then the end.
            Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionReset => {}
            Ok(Err(error)) if is_gone(&error) => return Ok((0, Vec::new())),
            Ok(taken) => return taken,
            Err(_) => {}
        }
    }
}

/// The shim has gone. If it has left no record of the end, it was killed: so is what it looked after.
async fn close(connection: &Connection, record: Option<TaskRecord>) {
    let status = match exit_status(&connection.folder()) {
        Some(status) => (&status).into(),
        None => {
            if let Some(record) = record {
                load::kill_leftovers(record).await;
            }
            ExitStatus::lost()
        }
    };
    connection.socket.send_replace(None);
    connection.drop_waiting();
    let exits = std::mem::take(&mut *lock(&connection.exits));
    for (who, sender) in &exits {
        match who {
            None => tell(sender, status),
            Some(_) => tell(sender, ExitStatus::lost()),
        }
    }
    let first = watch::Sender::new(Some(status));
    lock(&connection.exits).entry(None).or_insert(first);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_that_do_not_last_are_made_ever_more_slowly() {
        assert_eq!([pause(0), pause(1)], [Duration::ZERO; 2]);
        assert_eq!(pause(2), FIRST_PAUSE);
        assert!((2..100).all(|short| pause(short) <= pause(short + 1)));
        assert_eq!([pause(9), pause(u32::MAX)], [LONGEST_PAUSE; 2]);
    }
}
