//! `wharf system dial-stdio`: what `DOCKER_HOST=ssh://…` runs on the daemon's machine.

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, copy, stdin, stdout};
use tokio::net::UnixStream;

use crate::cli::command::COMMAND as EMPTY;
use crate::cli::{Command, Context, Exit, Outcome};

/// Move bytes between the standard streams and the daemon's socket
pub static COMMAND: Command = Command {
    name: "dial-stdio",
    about: "Move bytes between the standard streams and the daemon's socket (for ssh:// hosts)",
    run: Some(|context, _| Box::pin(run(context))),
    ..EMPTY
};

async fn run(context: &Context) -> Outcome {
    let Some(path) = context.host().strip_prefix("unix://") else {
        return Err(Exit::new(format!(
            "dial-stdio is for a daemon on this machine, not for {}",
            context.host()
        )));
    };
    // Where one can be started, it is.
    context.client().await?;
    let (mut from, mut to) = UnixStream::connect(path).await?.into_split();
    let ask = pass(stdin(), &mut to);
    let answer = pass(&mut from, stdout());
    tokio::pin!(ask);
    tokio::pin!(answer);
    // Who has said all may still be told something; when the daemon has, it is over.
    tokio::select! {
        ended = &mut answer => return ended,
        ended = &mut ask => ended?,
    }
    answer.await
}

/// Passes everything on, and then that it is over.
async fn pass(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin) -> Outcome {
    copy(&mut from, &mut to).await?;
    Ok(to.shutdown().await?)
}
