//! How a command ends when it does not end well: a text for standard error and an exit code.

use wharf_client::Error;

/// The end of a command that failed, or that must exit with the code of a container.
#[derive(Clone, Debug)]
pub struct Exit {
    /// Printed to standard error with a line end; nothing is printed when empty.
    pub message: String,
    /// Exit code of the process.
    pub code: i32,
}

/// What commands return.
pub type Outcome<T = ()> = Result<T, Exit>;

impl Exit {
    /// Failure with code 1.
    pub fn new(message: impl Into<String>) -> Exit {
        Exit {
            message: message.into(),
            code: 1,
        }
    }

    /// Failure with a code of its own.
    pub fn with_code(code: i32, message: impl Into<String>) -> Exit {
        Exit {
            message: message.into(),
            code,
        }
    }

    /// Exit without a word.
    pub fn silent(code: i32) -> Exit {
        Exit {
            message: String::new(),
            code,
        }
    }
}

impl From<Error> for Exit {
    fn from(error: Error) -> Exit {
        Exit::new(error.to_string())
    }
}

impl From<std::io::Error> for Exit {
    fn from(error: std::io::Error) -> Exit {
        // `wharf ps | head -1` is no failure worth words.
        if error.kind() == std::io::ErrorKind::BrokenPipe {
            return Exit::silent(141);
        }
        Exit::new(error.to_string())
    }
}

impl From<String> for Exit {
    fn from(message: String) -> Exit {
        Exit::new(message)
    }
}
