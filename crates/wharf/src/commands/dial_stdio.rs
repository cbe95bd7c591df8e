//! `wharf system dial-stdio`: what `DOCKER_HOST=ssh://…` runs on the daemon's machine.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

use crate::cli::command::COMMAND as EMPTY;
use crate::cli::{Command, Context, Exit, Outcome};
use crate::term::{pump, stdin};

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
    let (from, to) = UnixStream::connect(path).await?.into_split();
    let (asked, answer) = (ask(to), show(from));
    tokio::pin!(asked);
    tokio::pin!(answer);
    // Who has said all may still be told something; when the daemon has, it is over.
    tokio::select! {
        ended = &mut answer => return ended,
        ended = &mut asked => ended?,
    }
    answer.await
}

/// Passes standard input on, and then that it is over.
async fn ask(mut to: OwnedWriteHalf) -> Outcome {
    let mut input = stdin::read();
    while let Some(bytes) = input.recv().await {
        to.write_all(&bytes).await?;
    }
    Ok(to.shutdown().await?)
}

async fn show(mut from: OwnedReadHalf) -> Outcome {
    let mut buffer = vec![0; 32 * 1024];
    loop {
        match from.read(&mut buffer).await? {
            0 => return Ok(()),
            length => pump::write(std::io::stdout(), &buffer[..length])?,
        }
    }
}
