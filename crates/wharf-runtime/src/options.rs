//! The words of a mount's options.

use wharf_sys::mount::{Propagation, attr};

/// A mount's options, sorted by what they change.
#[derive(Debug, Default)]
pub(crate) struct Asked {
    pub(crate) bind: bool,
    pub(crate) recursive: bool,
    pub(crate) set: u64,
    pub(crate) clear: u64,
    pub(crate) recursive_set: u64,
    pub(crate) copy_up: bool,
    pub(crate) propagation: Vec<(Propagation, bool)>,
    pub(crate) data: Vec<(String, Option<String>)>,
}

impl Asked {
    pub(crate) fn parse(options: &[String]) -> Self {
        let mut asked = Self::default();
        for option in options {
            asked.take(option);
        }
        asked
    }

    fn take(&mut self, option: &str) {
        if let Some((bits, on)) = flag_of(option) {
            if on {
                self.set |= bits;
                self.clear &= !bits;
            } else {
                self.clear |= bits;
                self.set &= !bits;
            }
            return;
        }
        if let Some(propagation) = Self::propagation(option) {
            self.propagation.push(propagation);
            return;
        }
        match option {
            "bind" => self.bind = true,
            "rbind" => (self.bind, self.recursive) = (true, true),
            "rro" => self.recursive_set |= attr::RDONLY,
            "tmpcopyup" => self.copy_up = true,
            "defaults" | "async" | "nolazytime" | "loud" | "nomand" | "noiversion" => {}
            _ => match option.split_once('=') {
                Some((key, value)) => self.data.push((key.to_owned(), Some(value.to_owned()))),
                None => self.data.push((option.to_owned(), None)),
            },
        }
    }

    pub(crate) fn propagation(option: &str) -> Option<(Propagation, bool)> {
        let (word, recursive) = match option {
            "rshared" | "rslave" | "rprivate" | "runbindable" => (&option[1..], true),
            _ => (option, false),
        };
        let propagation = match word {
            "shared" => Propagation::Shared,
            "slave" => Propagation::Slave,
            "private" => Propagation::Private,
            "unbindable" => Propagation::Unbindable,
            _ => return None,
        };
        Some((propagation, recursive))
    }
}

/// The attribute that an option sets or clears.
fn flag_of(option: &str) -> Option<(u64, bool)> {
    Some(match option {
        "ro" => (attr::RDONLY, true),
        "rw" => (attr::RDONLY, false),
        "nosuid" => (attr::NOSUID, true),
        "suid" => (attr::NOSUID, false),
        "nodev" => (attr::NODEV, true),
        "dev" => (attr::NODEV, false),
        "noexec" => (attr::NOEXEC, true),
        "exec" => (attr::NOEXEC, false),
        "noatime" => (attr::NOATIME, true),
        "strictatime" => (attr::STRICTATIME, true),
        "relatime" | "atime" | "norelatime" | "nostrictatime" => (attr::RELATIME, true),
        "nodiratime" => (attr::NODIRATIME, true),
        "diratime" => (attr::NODIRATIME, false),
        "nosymfollow" => (attr::NOSYMFOLLOW, true),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(crate) fn parse(options: &[&str]) -> Asked {
        Asked::parse(
            &options
                .iter()
                .map(|&option| option.to_owned())
                .collect::<Vec<_>>(),
        )
    }

    #[test]
    fn options_are_sorted_by_what_they_change() {
        let asked = parse(&["rbind", "ro", "rslave", "nosuid", "suid", "size=64k", "x"]);
        assert!(asked.bind && asked.recursive);
        assert_eq!((asked.set, asked.clear), (attr::RDONLY, attr::NOSUID));
        assert_eq!(asked.propagation, [(Propagation::Slave, true)]);
        assert_eq!(
            asked.data,
            [("size".into(), Some("64k".into())), ("x".into(), None)]
        );
    }
}
