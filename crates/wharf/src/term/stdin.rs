//! Standard input as a stream of chunks. A thread reads it, as a terminal or a file cannot be polled everywhere;
//! the process ends without waiting for it.

use tokio::sync::mpsc::{Receiver, channel};

/// Starts to read. The channel ends with the input.
pub fn read() -> Receiver<Vec<u8>> {
    let (sender, receiver) = channel(4);
    std::thread::spawn(move || {
        let mut buffer = vec![0u8; 32 * 1024];
        loop {
            match rustix::io::read(std::io::stdin(), &mut buffer) {
                Ok(0) => return,
                Ok(length) => {
                    if sender.blocking_send(buffer[..length].to_vec()).is_err() {
                        return;
                    }
                }
                Err(rustix::io::Errno::INTR) => {}
                Err(_) => return,
            }
        }
    });
    receiver
}
