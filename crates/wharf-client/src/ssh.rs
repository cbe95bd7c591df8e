//! A daemon on another machine, reached as `DOCKER_HOST=ssh://…` means it: `docker system dial-stdio` there, which
//! moves bytes between its own streams and the daemon's socket.

use std::io;
use std::pin::Pin;
use std::process::Stdio;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::SshHost;

/// The streams of an `ssh` that runs. It ends by itself once its input is closed, what was written having been sent.
pub(crate) struct Dialed {
    _child: Child,
    /// Nothing once it is closed: a pipe knows no other way to say that no more will come.
    input: Option<ChildStdin>,
    output: ChildStdout,
}

/// Starts `ssh`. What it has to say goes to this process's standard error.
pub(crate) fn connect(host: &SshHost) -> io::Result<Dialed> {
    let mut command = std::process::Command::new("ssh");
    command.args(arguments(host));
    start(command)
}

fn start(mut command: std::process::Command) -> io::Result<Dialed> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    // An interrupt from the terminal is the container's, and must not end the way to it.
    wharf_sys::signals::in_a_session(&mut command);
    let mut child = Command::from(command).spawn()?;
    let streams = child.stdin.take().zip(child.stdout.take());
    let (input, output) = streams.ok_or_else(|| io::Error::other("ssh has no streams"))?;
    Ok(Dialed {
        _child: child,
        input: Some(input),
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
        match &mut self.input {
            Some(input) => Pin::new(input).poll_write(cx, bytes),
            None => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.input {
            Some(input) => Pin::new(input).poll_flush(cx),
            None => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.input = None;
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;
    use crate::Endpoint;

    fn check(text: &str, expected: &str) {
        let Endpoint::Ssh(host) = text.parse::<Endpoint>().unwrap() else {
            panic!("{text}");
        };
        let words = arguments(&host).join(" ");
        assert_eq!(words, format!("-o ConnectTimeout=30 -T {expected}"));
    }

    #[tokio::test]
    async fn what_was_said_arrives_and_its_end_is_told() {
        let mut dialed = start(std::process::Command::new("cat")).unwrap();
        dialed.write_all(b"hello").await.unwrap();
        dialed.shutdown().await.unwrap();
        let mut said = String::new();
        let all = dialed.read_to_string(&mut said);
        let patience = std::time::Duration::from_secs(30);
        tokio::time::timeout(patience, all).await.unwrap().unwrap();
        assert_eq!(said, "hello");
        let error = dialed.write_all(b"more").await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
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
