//! Which start of the machine this is.

use std::io;

/// The file that says it.
pub const ID: &str = "/proc/sys/kernel/random/boot_id";

/// An id that the machine has until it is started again, and never had before: what was not on the disk when an earlier one ended
/// may be lost.
///
/// # Errors
/// If it cannot be read.
pub fn id() -> io::Result<String> {
    Ok(std::fs::read_to_string(ID)?.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_same_word_each_time() {
        let id = id().unwrap();
        assert!(id.len() == 36 && !id.contains(char::is_whitespace), "{id}");
        assert_eq!(super::id().unwrap(), id);
    }
}
