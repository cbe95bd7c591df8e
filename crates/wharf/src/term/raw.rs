//! Raw mode that is undone on every way out: on drop, on panic, and on a signal that ends the process.

use std::io::IsTerminal;
use std::sync::{Mutex, PoisonError};

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};

// What to go back to. Global, as the panic hook and the exit of the process must reach it.
static SAVED: Mutex<Option<Termios>> = Mutex::new(None);

/// Raw mode of the terminal on standard input, for as long as this lives.
pub struct RawMode(());

impl RawMode {
    /// Enters raw mode; `None` when standard input is no terminal.
    pub fn enter() -> std::io::Result<Option<RawMode>> {
        let stdin = std::io::stdin();
        if !stdin.is_terminal() {
            return Ok(None);
        }
        let before = tcgetattr(&stdin)?;
        let mut raw = before.clone();
        raw.make_raw();
        *SAVED.lock().unwrap_or_else(PoisonError::into_inner) = Some(before);
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            restore();
            hook(info);
        }));
        tcsetattr(&stdin, OptionalActions::Now, &raw)?;
        Ok(Some(RawMode(())))
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        restore();
    }
}

/// Puts the terminal back, if it was made raw. May be called at any time and twice.
pub fn restore() {
    let saved = SAVED.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(before) = saved {
        // Nothing can be done about a terminal that is gone.
        let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, &before);
    }
}

/// Refuses `-t` with `-i` when standard input is no terminal.
pub fn check_tty(attach_stdin: bool, tty: bool) -> Result<(), String> {
    if attach_stdin && tty && !std::io::stdin().is_terminal() {
        return Err("the input device is not a TTY".to_owned());
    }
    Ok(())
}
