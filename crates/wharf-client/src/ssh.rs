//! A daemon on another machine, reached as `DOCKER_HOST=ssh://…` means it: `docker system dial-stdio` there, which
//! moves bytes between its own streams and the daemon's socket.

use std::io;
use std::pin::Pin;
use std::process::Stdio;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::SshHost;

/// The streams of an `ssh` that runs; it ends with this.
pub(crate) struct Dialed {
    _child: Child,
    input: ChildStdin,
    output: ChildStdout,
}

/// Starts `ssh`. What it has to say goes to this process's standard error.
pub(crate) fn connect(host: &SshHost) -> io::Result<Dialed> {
    let mut child = Command::new("ssh")
        .args(arguments(host))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let streams = child.stdin.take().zip(child.stdout.take());
    let (input, output) = streams.ok_or_else(|| io::Error::other("ssh has no streams"))?;
    Ok(Dialed {
        _child: child,
        input,
        output,
    })
}

/// As Docker's client calls it: no terminal, and half a minute to connect.
fn arguments(host: &SshHost) -> Vec<String> {
    let mut words: Vec<String> = ["-o", "ConnectTimeout=30", "-T"].map(str::to_owned).into();
    let mut option = |name: &str, value: &str| words.extend([name.to_owned(), value.to_owned()]);
    if let Some(user) = &host.user {
        option("-l", user);
    }
    if let Some(port) = &host.port {
        option("-p", &port.to_string());
    }
    words.extend(["--", &host.name, "docker"].map(str::to_owned));
    if let Some(socket) = &host.socket {
        // The other machine's shell reads this.
        let quoted = format!("unix://{socket}").replace('\'', "'\\''");
        words.extend(["--host".to_owned(), format!("'{quoted}'")]);
    }
    words.extend(["system", "dial-stdio"].map(str::to_owned));
    words
}

impl AsyncRead for Dialed {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.output).poll_read(cx, buf)
    }
}

impl AsyncWrite for Dialed {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.input).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.input).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.input).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Endpoint;

    fn check(text: &str, expected: &str) {
        let Endpoint::Ssh(host) = text.parse::<Endpoint>().unwrap() else {
            panic!("{text}");
        };
        let words = arguments(&host).join(" ");
        assert_eq!(words, format!("-o ConnectTimeout=30 -T {expected}"));
    }

    #[test]
    fn how_ssh_is_called() {
        check("ssh://h", "-- h docker system dial-stdio");
        check(
            "ssh://me@h:2222",
            "-l me -p 2222 -- h docker system dial-stdio",
        );
        check(
            "ssh://h/run/a b.sock",
            "-- h docker --host 'unix:///run/a b.sock' system dial-stdio",
        );
    }
}
