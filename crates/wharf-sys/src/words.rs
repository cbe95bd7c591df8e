//! The kernel's errors as Go's runtime words them, which is what people know of Docker and runc.

use std::io;

use rustix::io::Errno;

/// Where the C libraries say something else than Go (`zerrors_linux_amd64.go`): musl, which the shim is built with, has words of its
/// own for these.
const DIFFERENT: &[(Errno, &str)] = &[
    (Errno::IO, "input/output error"),
    (Errno::CHILD, "no child processes"),
    (Errno::NOMEM, "cannot allocate memory"),
    (Errno::BUSY, "device or resource busy"),
    (Errno::XDEV, "invalid cross-device link"),
    (Errno::MFILE, "too many open files"),
    (Errno::NOTTY, "inappropriate ioctl for device"),
    (Errno::RANGE, "numerical result out of range"),
    (Errno::DEADLK, "resource deadlock avoided"),
    (Errno::NAMETOOLONG, "file name too long"),
    (Errno::LOOP, "too many levels of symbolic links"),
    (Errno::OVERFLOW, "value too large for defined data type"),
    (Errno::OPNOTSUPP, "operation not supported"),
    (Errno::ADDRNOTAVAIL, "cannot assign requested address"),
    (Errno::NETUNREACH, "network is unreachable"),
    (Errno::CONNABORTED, "software caused connection abort"),
    (Errno::NOTCONN, "transport endpoint is not connected"),
    (Errno::TIMEDOUT, "connection timed out"),
    (Errno::HOSTUNREACH, "no route to host"),
    (Errno::DQUOT, "disk quota exceeded"),
];

/// What Rust writes behind the C library's words.
const MARK: &str = " (os error ";

/// An error's words: `permission denied`. One that is not of the kernel keeps its own.
pub fn of(error: &io::Error) -> String {
    error
        .raw_os_error()
        .map_or_else(|| error.to_string(), of_number)
}

/// An error with its causes as one line, each behind a colon. Some libraries repeat their cause in their own text: said once.
pub fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |error| error.source());
    causes.fold(error.to_string(), |text, cause| {
        let cause = cause.to_string();
        match text.ends_with(&cause) {
            true => text,
            false => format!("{text}: {cause}"),
        }
    })
}

fn of_number(number: i32) -> String {
    let known = DIFFERENT
        .iter()
        .find(|(errno, _)| errno.raw_os_error() == number);
    if let Some((_, words)) = known {
        return (*words).to_owned();
    }
    let text = io::Error::from_raw_os_error(number).to_string();
    let mut letters = text.split(MARK).next().unwrap_or_default().chars();
    let first = letters.next().map(|letter| letter.to_ascii_lowercase());
    first.into_iter().chain(letters).collect()
}

/// `message` with every error of the kernel that Rust has written into it in Go's words.
pub fn plain(message: &str) -> String {
    let mut text = message.to_owned();
    while let Some((before, rest)) = text.split_once(MARK) {
        let number = rest.split_once(')');
        let number = number.and_then(|(number, after)| Some((number.parse().ok()?, after)));
        let Some((number, after)) = number else { break };
        let rusts = io::Error::from_raw_os_error(number).to_string();
        let rusts = rusts.split(MARK).next().unwrap_or_default();
        text = match before.strip_suffix(rusts) {
            Some(before) => format!("{before}{}{after}", of_number(number)),
            // Somebody else's words for it.
            None => format!("{before}{after}"),
        };
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_worded_as_go_words_them() {
        for (number, words) in [
            (1, "operation not permitted"),
            (2, "no such file or directory"),
            (12, "cannot allocate memory"),
            (16, "device or resource busy"),
            (30, "read-only file system"),
            (34, "numerical result out of range"),
            (40, "too many levels of symbolic links"),
            (110, "connection timed out"),
        ] {
            let error = io::Error::from_raw_os_error(number);
            assert_eq!(of(&error), words);
            assert_eq!(
                plain(&format!("open x: {error}: y")),
                format!("open x: {words}: y")
            );
        }
        assert_eq!(of(&io::Error::other("Odd")), "Odd");
    }

    #[test]
    fn causes_are_told_once() {
        #[derive(Debug)]
        struct Told(&'static str, Option<Box<Told>>);
        impl std::fmt::Display for Told {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.0)
            }
        }
        impl std::error::Error for Told {
            fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
                self.1.as_ref().map(|cause| cause.as_ref() as _)
            }
        }
        let cause = Told("disk", Some(Box::new(Told("full", None))));
        assert_eq!(
            chain(&Told("write: disk", Some(Box::new(cause)))),
            "write: disk: full"
        );
    }

    #[test]
    fn what_is_no_error_of_the_kernel_stays() {
        for same in ["plain", "odd (os error x)", "(os error 2", "x (os error 2"] {
            assert_eq!(plain(same), same);
        }
        // A path may look like it, and every mark is taken away.
        for number in ["2", "020", "+20"] {
            assert_eq!(plain(&format!("mine (os error {number}): y")), "mine: y");
        }
    }
}
