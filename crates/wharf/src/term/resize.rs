//! Tells the daemon the size of the terminal, now and when it changes.

use std::io::IsTerminal;
use std::time::Duration;

use rustix::termios::tcgetwinsize;
use tokio::signal::unix::{SignalKind, signal};
use wharf_client::{Client, Url};

/// Rows and columns of the terminal on standard output, `None` when it is none.
pub fn size() -> Option<(u16, u16)> {
    let stdout = std::io::stdout();
    if !stdout.is_terminal() {
        return None;
    }
    let size = tcgetwinsize(&stdout).ok()?;
    (size.ws_row != 0 || size.ws_col != 0).then_some((size.ws_row, size.ws_col))
}

/// Follows the size for as long as it is polled; never ends. `kind` is `containers` or `exec`.
pub async fn follow(client: &Client, kind: &str, id: &str) {
    let mut changes = signal(SignalKind::window_change()).ok();
    // The process may not have its terminal yet.
    for attempt in 1..=10u32 {
        if send(client, kind, id).await {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10) * attempt).await;
    }
    loop {
        match &mut changes {
            Some(changes) => changes.recv().await,
            None => std::future::pending().await,
        };
        send(client, kind, id).await;
    }
}

async fn send(client: &Client, kind: &str, id: &str) -> bool {
    let Some((rows, columns)) = size() else {
        return true;
    };
    let url = Url::new([kind, id, "resize"])
        .with("h", rows)
        .with("w", columns);
    client.post(url).await.is_ok()
}
